"""`python -m standalone.controller_main`: the controller's process.

Looks whenever a batch changes its state, and every second for aliases that a person moved. An unavailable MLflow or
PostgreSQL changes nothing that is served; the next look tries again.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from contract.json_logs import configure_logging
from registry import mlflow_environment
from registry.errors import MlflowUnavailable
from registry.mlflow_registry import MlflowRegistry
from standalone.controller import Controller
from store.errors import StoreUnavailable
from store.ingest_log import BATCHES_CHANNEL, IngestLog
from store.migrate import making_mlflow_tables
from store.model_store import ModelStore
from store.notifications import Notifications
from store.object_url import ObjectStoreUrl, open_objects
from store.postgres import Postgres
from store.queue import TrainingQueue
from store.serving import ServedVersions

_log = logging.getLogger(__name__)

# Its looks can wait a moment; an answer of /score that is due cannot.
_NICENESS = 10


class ControllerSettings(BaseSettings):
    """What the controller takes from the environment."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="TELLTALE_", extra="ignore", populate_by_name=True)

    database_url: str = Field(alias="DATABASE_URL", description="The PostgreSQL database.")
    object_store: ObjectStoreUrl = Field(description="Batches and models: a folder, or s3://bucket/prefix.")
    mlflow_tracking_uri: str = Field(alias="MLFLOW_TRACKING_URI", description="MLflow's server or database.")
    look_seconds: float = Field(
        1.0, gt=0, description="Seconds between looks at the aliases: a moved one is followed within a few of these."
    )
    log_level: str = Field("INFO", description="Least severe log level that is written.")


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = ControllerSettings()
    configure_logging(settings.log_level)
    mlflow_environment.prepare()
    os.nice(_NICENESS)
    look = threading.Event()
    stopping: list[bool] = []

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.append(True)  # no event, whose lock this very thread may hold: it waits for the next look

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    postgres = Postgres(settings.database_url, max_connections=2)
    postgres.open()
    controller = build(settings, postgres)
    notifications = Notifications(settings.database_url, BATCHES_CHANNEL, lambda _: look.set())
    notifications.start()
    _log.info("controller ready")
    while not stopping:
        look.wait(settings.look_seconds)
        look.clear()
        if not stopping:
            _reconcile(controller)
    notifications.stop()
    postgres.close()


def build(settings: ControllerSettings, postgres: Postgres) -> Controller:
    """Compose the controller."""
    objects = open_objects(settings.object_store)
    mlflow = MlflowRegistry(settings.mlflow_tracking_uri)
    if not settings.mlflow_tracking_uri.startswith("http"):  # a server makes its tables itself
        with making_mlflow_tables(settings.database_url):
            mlflow.champions()
    log = IngestLog(postgres, objects, TrainingQueue(postgres))
    return Controller(log, ModelStore(objects), ServedVersions(postgres), mlflow)


def _reconcile(controller: Controller) -> None:
    try:
        controller.reconcile()
    except (MlflowUnavailable, StoreUnavailable) as error:
        _log.warning("nothing is changed for now: %s", error)


if __name__ == "__main__":
    main()
