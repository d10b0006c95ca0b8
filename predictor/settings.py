"""The predictor's settings, read once from the environment by its composition root."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contract.telemetry import Limits


class PredictorSettings(BaseSettings):
    """What can be set, each with its meaning, unit and the reason for its default."""

    model_config = SettingsConfigDict(env_prefix="TELLTALE_", frozen=True, extra="ignore", populate_by_name=True)

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. Loopback, because without authentication nobody else should reach it.",
    )
    port: int = Field(8000, ge=0, le=65535, description="TCP port for HTTP; 0 takes any free one.")
    allow_anonymous: bool = Field(
        False,
        description="Listen on an address other than loopback although requests carry no credentials. Off, because"
        " anyone who reaches the port could then train and score.",
    )
    database_url: str = Field(
        "postgresql://telltale@127.0.0.1:5432/telltale",
        validation_alias="DATABASE_URL",
        description="PostgreSQL: batches, the training queue, which versions are served. /score works without it.",
    )
    object_store_root: Path = Field(
        Path(".telltale/objects"),
        description="Folder of the object store: telemetry batches and the model store. Relative to the working"
        " directory, so that a checkout keeps its own data.",
    )
    max_body_bytes: int = Field(
        64 * 1024 * 1024, ge=1024, description="Largest request body in bytes. 100,000 records of 20 features fit in."
    )
    max_records: int = Field(
        100_000, ge=1, description="Most records in one request: a batch of this size scores in about a second."
    )
    max_features: int = Field(1024, ge=1, description="Most features that a model's first batch may define.")
    max_id_characters: int = Field(
        256, ge=1, description="Longest vehicle id or feature name, in characters; a VIN has 17."
    )
    ingest_wait_seconds: float = Field(
        25.0,
        ge=0,
        description="How long POST /ingest waits for training before it answers 202. Below the 30 s at which many"
        " clients and proxies give up.",
    )
    ingest_sync_records: int = Field(
        10_000, ge=0, description="Batches with more records than this are answered 202 at once: they train longer."
    )
    serve_wait_seconds: float = Field(
        5.0,
        ge=0,
        description="How long, within the wait for training, POST /ingest waits for an accepted version to be served"
        " here. The controller follows within 5 s.",
    )
    follow_seconds: float = Field(
        1.0,
        gt=0,
        description="Seconds between two looks at what is served and what became of batches, in case a notification"
        " of PostgreSQL was lost.",
    )
    loaded_models_bytes: int = Field(
        512 * 1024 * 1024,
        ge=0,
        description="Memory for forests, in bytes. Beyond it the least recently used versions are dropped, never a"
        " model's default. A forest of 200 trees takes about 1 MB.",
    )
    database_connections: int = Field(
        8, ge=1, description="Most connections to PostgreSQL. Only /ingest and background reading use them."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line that is written. Info includes one line for each request."
    )
    shutdown_grace_seconds: int = Field(
        7,
        ge=1,
        description="How long requests may take to finish after SIGTERM. With closing what is open it stays below"
        " 10 s.",
    )

    @property
    def limits(self) -> Limits:
        """The limits on one request, as the contract takes them."""
        return Limits(
            body_bytes=self.max_body_bytes,
            records=self.max_records,
            features=self.max_features,
            id_characters=self.max_id_characters,
        )

    @model_validator(mode="after")
    def _refuse_exposure(self) -> PredictorSettings:
        if not self.may_listen_on(self.host):
            raise ValueError(
                f"listening on {self.host} would let anyone on the network train and score without credentials: "
                "keep TELLTALE_HOST=127.0.0.1, or allow it in words with TELLTALE_ALLOW_ANONYMOUS=true"
            )
        return self

    def may_listen_on(self, address: str) -> bool:
        """Tell whether these settings allow to listen on ``address``."""
        return self.allow_anonymous or is_loopback(address)


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can reach ``address``."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
