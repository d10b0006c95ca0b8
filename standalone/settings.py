"""The settings of one machine's Telltale, and the environment that its parts are started with."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import AliasChoices, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from store.object_url import ObjectStoreUrl


class StandaloneSettings(BaseSettings):
    """What `telltale serve` takes from the environment; its options override these."""

    model_config = SettingsConfigDict(
        frozen=True, env_prefix="TELLTALE_", env_ignore_empty=True, extra="ignore", populate_by_name=True
    )

    data: Path = Field(
        Path(".telltale"),
        description="Folder for everything that is kept: database, batches, models, MLflow's artefacts, logs. "
        "In the folder where it is started, so that a checkout holds its own data.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on. One that others can reach needs authentication.")
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("TELLTALE_PORT", "PORT"),
        description="HTTP port; 0 takes a free one. Where this is not set PORT is taken, by which platforms for"
        " containers say it.",
    )
    public_url: str | None = Field(
        None,
        description="The address by which others reach this, such as https://telltale.example, for the request that a"
        " start prints. Empty takes this machine's.",
    )
    grpc_port: int | None = Field(
        None, ge=0, le=65535, description="gRPC port; empty takes the one after the HTTP port, 8001, or any free one."
    )
    allow_anonymous: bool = Field(
        False, description="Whether an address that others can reach may be used without authentication."
    )
    generate_auth_secret: bool = Field(
        False,
        description="Where no authentication is set: make a shared secret in the data folder at first start, and print"
        " a token of a day at each. The container image has it on. Off, because tokens in logs should be wanted.",
    )
    run_as: int | None = Field(
        None,
        ge=0,
        description="Number of the user to go on as when started as root, who gets the data folder. The container image"
        " has it, for platforms whose volumes are root's. Empty stays root.",
    )
    database_url: str | None = Field(
        None,
        alias="DATABASE_URL",
        description="A PostgreSQL of your own (postgresql://user:password@host:port/database). "
        "Unset, an embedded one is started in the data folder.",
    )
    object_store: ObjectStoreUrl | None = Field(
        None,
        description="Where batches and models are kept: s3://bucket/prefix, or a folder. Empty takes a folder in the"
        " data folder.",
    )
    use_local_storage: bool | None = Field(
        None,
        alias="USE_LOCAL_STORAGE",
        description="Says it aloud: true keeps batches and models in the data folder, false demands"
        " TELLTALE_OBJECT_STORE. Empty follows TELLTALE_OBJECT_STORE.",
    )
    sample_fleet: bool = Field(
        True, description="Whether the first start ingests a small sample fleet as the model sample-fleet."
    )

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> StandaloneSettings:
        if self.use_local_storage is False and self.object_store is None:
            raise ValueError(
                "USE_LOCAL_STORAGE=false needs another storage: set TELLTALE_OBJECT_STORE=s3://bucket/prefix"
            )
        if self.use_local_storage and self.object_store is not None:
            raise ValueError(
                f"USE_LOCAL_STORAGE=true contradicts TELLTALE_OBJECT_STORE={self.object_store}: unset one of them"
            )
        return self

    @property
    def object_store_or_folder(self) -> str:
        """Where batches and models are kept."""
        return self.object_store or str(self.data.resolve() / "objects")

    @property
    def grpc_port_or_next(self) -> int:
        """The gRPC port: the one that was set, else the one after the HTTP port, 0 if that is 0 too."""
        if self.grpc_port is not None:
            return self.grpc_port
        return min(self.port + 1, 65535) if self.port else 0


def parts_environment(
    settings: StandaloneSettings, data: Path, database_url: str, sqlalchemy_url: str
) -> dict[str, str]:
    """Return the environment of the predictor, trainer and controller: ours, and where everything is."""
    return os.environ | {
        "DATABASE_URL": database_url,
        "TELLTALE_OBJECT_STORE": settings.object_store_or_folder,
        "MLFLOW_TRACKING_URI": os.environ.get("MLFLOW_TRACKING_URI") or sqlalchemy_url,
        "TELLTALE_MLFLOW_ARTIFACT_ROOT": str(data / "mlflow"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_CONFIGURE_LOGGING": "false",  # its lines go through our JSON logs
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "PYTHONUNBUFFERED": "1",
    }
