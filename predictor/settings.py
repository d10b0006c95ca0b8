"""The predictor's settings, read once from the environment by its composition root."""

from __future__ import annotations

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from contract.telemetry import Limits
from predictor.observability.settings import ObservabilitySettings
from predictor.security import exposure
from predictor.security.settings import SecuritySettings
from store.object_url import ObjectStoreUrl


class PredictorSettings(SecuritySettings, ObservabilitySettings):
    """What can be set, each with its meaning, unit and the reason for its default."""

    model_config = SettingsConfigDict(env_prefix="TELLTALE_", frozen=True, extra="ignore", populate_by_name=True)

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. Loopback, because without authentication nobody else should reach it.",
    )
    port: int = Field(
        8080, ge=0, le=65535, description="TCP port for HTTP, 8080 as KServe has it; 0 takes any free one."
    )
    grpc_port: int = Field(
        8081, ge=0, le=65535, description="TCP port for gRPC, 8081 as KServe has it; 0 takes any free one."
    )
    allow_anonymous: bool = Field(
        False,
        description="Listen on an address other than loopback although requests carry no credentials. Off, because"
        " anyone who reaches the port could then train and score.",
    )
    database_url: str | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL: batches, the training queue, which versions are served, quotas, the prediction log."
        " Empty takes no batches, and needs TELLTALE_MODEL and TELLTALE_MODEL_VERSION.",
    )
    model_store: ObjectStoreUrl | None = Field(
        None,
        description="Where models are read from, as TELLTALE_OBJECT_STORE is written. Empty takes the object store.",
    )
    model: str | None = Field(
        None, description="The model to answer with where a request names none; needs TELLTALE_MODEL_VERSION."
    )
    model_version: str | None = Field(
        None, description="The version that TELLTALE_MODEL is pinned to. Empty follows what PostgreSQL says."
    )
    artifact_digest: str | None = Field(
        None, description="The digest that the pinned version must have, such as sha256:…; another is refused."
    )
    object_store: ObjectStoreUrl = Field(
        ".telltale/objects",
        description="The object store, for batches and models: a folder, or s3://bucket/prefix. S3's endpoint, region"
        " and credentials come from the environment, as every AWS tool takes them (AWS_ENDPOINT_URL_S3, …).",
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
    drain_seconds: float = Field(
        5.0,
        ge=0,
        description="How long after SIGTERM requests are still taken, each answer closing its connection, so that load"
        " balancers and clients can turn away; after Ctrl-C until no connection is left. A gRPC connection is renewed"
        " after 0.6 of it, at any time, so that none is left in the end.",
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

    @property
    def pinned(self) -> bool:
        """Whether one version is served by default, whatever PostgreSQL says."""
        return self.model_version is not None

    @model_validator(mode="after")
    def _refuse_exposure(self) -> PredictorSettings:
        if not self.may_listen_on(self.host):
            raise ValueError(exposure.refusal(self.host))
        return self

    @model_validator(mode="after")
    def _refuse_what_does_not_fit(self) -> PredictorSettings:
        if (self.model is None) != (self.model_version is None):
            raise ValueError("TELLTALE_MODEL and TELLTALE_MODEL_VERSION belong together: set both, or neither")
        if self.artifact_digest is not None and not self.pinned:
            raise ValueError("TELLTALE_ARTIFACT_DIGEST needs TELLTALE_MODEL and TELLTALE_MODEL_VERSION")
        if self.database_url is None and not self.pinned:
            raise ValueError(
                "nothing says which versions to serve: set DATABASE_URL, or TELLTALE_MODEL and TELLTALE_MODEL_VERSION"
            )
        if self.database_url is None and self.prediction_log:
            raise ValueError("TELLTALE_PREDICTION_LOG=true needs DATABASE_URL")
        return self

    @property
    def model_store_url(self) -> str:
        """Where models are read from."""
        return self.model_store or self.object_store

    def may_listen_on(self, address: str) -> bool:
        """Tell whether these settings allow to listen on ``address``."""
        return exposure.may_listen_on(address, authenticated=self.authenticates, anonymous_allowed=self.allow_anonymous)
