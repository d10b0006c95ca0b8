"""The settings of one machine's Telltale, and the environment that its parts are started with."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class StandaloneSettings(BaseSettings):
    """What `telltale serve` takes from the environment; its options override these."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="TELLTALE_", extra="ignore", populate_by_name=True)

    data: Path = Field(
        Path(".telltale"),
        description="Folder for everything that is kept: database, batches, models, MLflow's artefacts, logs. "
        "In the folder where it is started, so that a checkout holds its own data.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on. One that others can reach needs authentication.")
    port: int = Field(8000, ge=0, le=65535, description="HTTP port; 0 takes a free one.")
    grpc_port: int | None = Field(
        None, ge=0, le=65535, description="gRPC port; empty takes the one after the HTTP port, 8001, or any free one."
    )
    allow_anonymous: bool = Field(
        False, description="Whether an address that others can reach may be used without authentication."
    )
    database_url: str | None = Field(
        None,
        alias="DATABASE_URL",
        description="A PostgreSQL of your own (postgresql://user:password@host:port/database). "
        "Unset, an embedded one is started in the data folder.",
    )
    use_local_storage: bool = Field(
        True,
        alias="USE_LOCAL_STORAGE",
        description="Whether batches and models are kept as files in the data folder, the only storage so far.",
    )
    sample_fleet: bool = Field(
        True, description="Whether the first start ingests a small sample fleet as the model sample-fleet."
    )

    @property
    def grpc_port_or_next(self) -> int:
        """The gRPC port: the one that was set, else the one after the HTTP port, 0 if that is 0 too."""
        if self.grpc_port is not None:
            return self.grpc_port
        return min(self.port + 1, 65535) if self.port else 0


def parts_environment(data: Path, database_url: str, sqlalchemy_url: str) -> dict[str, str]:
    """Return the environment of the predictor, trainer and controller: ours, and where everything is."""
    return os.environ | {
        "DATABASE_URL": database_url,
        "TELLTALE_OBJECT_STORE_ROOT": str(data / "objects"),
        "MLFLOW_TRACKING_URI": os.environ.get("MLFLOW_TRACKING_URI", sqlalchemy_url),
        "TELLTALE_MLFLOW_ARTIFACT_ROOT": str(data / "mlflow"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_CONFIGURE_LOGGING": "false",  # its lines go through our JSON logs
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "PYTHONUNBUFFERED": "1",
    }
