"""The trainer's parts put together from its settings. Importing this imports MLflow, which takes seconds."""

from __future__ import annotations

from datetime import UTC, datetime

from store.ingest_log import IngestLog
from store.local_objects import LocalObjectStore
from store.migrate import making_mlflow_tables
from store.model_store import ModelStore
from store.postgres import Postgres
from store.queue import TrainingQueue
from trainer.attempt import AttemptLock
from trainer.settings import TrainerSettings
from trainer.tracking import Tracking
from trainer.training import Training
from trainer.window import Bounds, WindowReader
from trainer.worker import Pace, Worker


def build(settings: TrainerSettings, postgres: Postgres) -> Worker:
    """Put a worker together; MLflow's tables are made if they are missing.

    Raises:
        StoreUnavailable, TrackingUnavailable: PostgreSQL, MLflow or the object store's folder is not there.

    """
    log = IngestLog(postgres, LocalObjectStore(settings.object_store_root), TrainingQueue(postgres))
    pace = Pace(
        heartbeat=settings.heartbeat_seconds, lost_after=settings.lost_after_seconds, grace=settings.stop_grace_seconds
    )
    return Worker(
        settings.database_url, build_training(settings, postgres), log, max_attempts=settings.max_attempts, pace=pace
    )


def build_training(settings: TrainerSettings, postgres: Postgres) -> Training:
    """Put together what one job does."""
    objects = LocalObjectStore(settings.object_store_root)
    log = IngestLog(postgres, objects, TrainingQueue(postgres))
    with making_mlflow_tables(settings.database_url):
        tracking = Tracking(settings.mlflow_tracking_uri, settings.mlflow_artifact_root)
        tracking.prepare()
    bounds = Bounds(settings.window_records, settings.window_values, settings.window_batches)
    return Training(
        log=log,
        models=ModelStore(objects),
        tracking=tracking,
        clock=lambda: datetime.now(UTC),
        attempts=AttemptLock(settings.database_url),
        windows=WindowReader(log, bounds),
        n_estimators=settings.n_estimators,
        contamination=settings.contamination,
        min_holdout_records=settings.min_holdout_records,
    )
