"""The trainer's parts put together from its settings. Importing this imports MLflow, which takes seconds."""

from __future__ import annotations

import os
import socket
from contextlib import nullcontext
from datetime import UTC, datetime

from store.attempts import Attempts, Silence
from store.ingest_log import IngestLog
from store.migrate import making_mlflow_tables
from store.model_store import ModelStore
from store.object_url import open_objects
from store.postgres import Postgres
from store.queue import TrainingQueue
from trainer.attempt import AttemptLock
from trainer.job_runner import JobRunner
from trainer.settings import TrainerSettings
from trainer.tracing import Sends, TracedTraining
from trainer.tracking import Tracking, is_server
from trainer.training import Training
from trainer.vitals import Vitals
from trainer.window import Bounds, WindowReader
from trainer.worker import Pace, Worker


def build(settings: TrainerSettings, postgres: Postgres, vitals: Vitals, spans: Sends | None = None) -> Worker:
    """Put a worker together, which sends the spans of its trainings by ``spans``; MLflow's tables are made if missing.

    Raises:
        StoreUnavailable, TrackingUnavailable: PostgreSQL, MLflow or the object store's folder is not there.

    """
    attempts = Attempts(postgres, f"{socket.gethostname()}:{os.getpid()}")
    training = TracedTraining(build_training(settings, postgres), spans)
    runner = JobRunner(training, attempts, vitals, max_attempts=settings.max_attempts)
    pace = Pace(
        heartbeat=settings.heartbeat_seconds,
        silence=Silence(settings.lost_after_seconds, settings.hung_after_seconds),
        grace=settings.stop_grace_seconds,
        max_losses=settings.max_losses,
    )
    return Worker(settings.database_url, runner, attempts, vitals, pace)


def build_training(settings: TrainerSettings, postgres: Postgres) -> Training:
    """Put together what one job does."""
    objects = open_objects(settings.object_store)
    log = IngestLog(postgres, objects, TrainingQueue(postgres))
    bounds = Bounds(settings.window_records, settings.window_values, settings.window_batches)
    return Training(
        log=log,
        models=ModelStore(objects),
        tracking=_tracking(settings),
        clock=lambda: datetime.now(UTC),
        attempts=AttemptLock(settings.database_url),
        windows=WindowReader(log, bounds),
        n_estimators=settings.n_estimators,
        contamination=settings.contamination,
        min_holdout_records=settings.min_holdout_records,
    )


def _tracking(settings: TrainerSettings) -> Tracking:
    """Return MLflow, with its tables made: by its server, if there is one, else by us, one process at a time."""
    tracking = Tracking(settings.mlflow_tracking_uri, settings.mlflow_artifact_root)
    with nullcontext() if is_server(settings.mlflow_tracking_uri) else making_mlflow_tables(settings.database_url):
        tracking.prepare()
    return tracking
