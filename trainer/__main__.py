"""`python -m trainer`: a worker that trains what is queued, until SIGTERM.

Settings come from the environment; `.env.example` lists them. Several workers may share one database.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from datetime import UTC, datetime

from contract.json_logs import configure_logging
from store.ingest_log import IngestLog
from store.local_objects import LocalObjectStore
from store.migrate import making_mlflow_tables
from store.model_store import ModelStore
from store.postgres import Postgres
from store.queue import TrainingQueue
from trainer.settings import TrainerSettings
from trainer.tracking import Tracking
from trainer.training import Training
from trainer.worker import Worker

_log = logging.getLogger("trainer")


def main() -> None:
    """Compose the worker and run it."""
    argparse.ArgumentParser(prog="python -m trainer", description=__doc__).parse_args()
    settings = TrainerSettings()
    configure_logging(settings.log_level)
    os.nice(settings.niceness)
    postgres = Postgres(settings.database_url, max_connections=3)
    postgres.open()
    try:
        asyncio.run(build(settings, postgres).run(lambda: _log.info("trainer ready")))
    finally:
        postgres.close()


def build(settings: TrainerSettings, postgres: Postgres) -> Worker:
    """Compose the worker."""
    objects = LocalObjectStore(settings.object_store_root)
    log = IngestLog(postgres, objects, TrainingQueue(postgres))
    tracking = Tracking(settings.mlflow_tracking_uri, settings.mlflow_artifact_root)
    with making_mlflow_tables(settings.database_url):
        tracking.prepare()
    training = Training(
        log=log,
        models=ModelStore(objects),
        tracking=tracking,
        clock=lambda: datetime.now(UTC),
        window_records=settings.window_records,
        n_estimators=settings.n_estimators,
        contamination=settings.contamination,
    )
    return Worker(
        settings.database_url,
        training,
        log,
        max_attempts=settings.max_attempts,
        stop_grace=settings.stop_grace_seconds,
    )


if __name__ == "__main__":
    main()
