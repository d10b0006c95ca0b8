"""Versions of one model, trained by the trainer's own code: files in the cluster's S3, runs and tags in its MLflow."""

from __future__ import annotations

import itertools
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

with warnings.catch_warnings():
    # Importing MLflow warns of its own type hints and of pydantic's and protobuf's older ways.
    warnings.simplefilter("ignore")
    import mlflow.pyfunc  # noqa: F401 - trainer.tracking imports it, and here its warnings end
    from mlflow import MlflowClient

from contract.columns import Batch
from contract.names import TAG_VERSION
from store.ingest_log import IngestLog
from store.model_store import ModelStore
from store.parquet import encode_batch
from store.postgres import Postgres
from store.queue import TrainingQueue
from store.s3_objects import S3ObjectStore
from trainer.attempt import AttemptLock
from trainer.tracking import Tracking
from trainer.training import Training
from trainer.window import Bounds, WindowReader

MODEL = "cars"
FEATURES = ("engine_temp", "oil_pressure", "vibration")
_RECORDS = 400
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def telemetry(records: int, seed: int, *, around: float = 0.0) -> NDArray[np.float64]:
    """Return records of a fleet whose features lie around a value."""
    return np.random.default_rng(seed).normal(around, 1.0, (records, len(FEATURES)))


class Fleet:
    """Trains and registers versions.

    Args:
        postgres: takes batches in.
        database_url: the same.
        objects: the cluster's object store.
        tracking_uri: the cluster's MLflow, as it is reached from here.

    """

    def __init__(self, postgres: Postgres, database_url: str, objects: S3ObjectStore, tracking_uri: str) -> None:
        self._log = IngestLog(postgres, objects, TrainingQueue(postgres))
        self._numbers = itertools.count(1)
        self.client = MlflowClient(tracking_uri, tracking_uri)
        self._training = Training(
            log=self._log,
            models=ModelStore(objects),
            tracking=Tracking(tracking_uri, Path("unused")),
            clock=lambda: datetime.now(UTC),
            attempts=AttemptLock(database_url),
            windows=WindowReader(self._log, Bounds(batches=1)),
            n_estimators=50,
        )

    def train(self, *, around: float = 0.0) -> str:
        """Train a version on telemetry of its own, as a batch that a client sends; return its id."""
        number = next(self._numbers)
        stamps = int(_BEGAN.timestamp() * 1e6) + 60_000_000 * np.arange(_RECORDS, dtype=np.int64)
        vehicles = [f"VH-{index:03}" for index in range(_RECORDS)]
        batch = Batch(MODEL, FEATURES, vehicles, stamps, telemetry(_RECORDS, number, around=around))
        row = self._log.accept(encode_batch(batch), now=_BEGAN + timedelta(days=number), warnings=[])
        self._training.train(row.id)
        return row.version

    def number(self, version: str) -> str:
        """Return MLflow's number of a version."""
        (found,) = self.client.search_model_versions(f"name = '{MODEL}' AND tags.`{TAG_VERSION}` = '{version}'")
        return str(found.version)

    def alias(self, alias: str, version: str) -> None:
        """Let an alias name a version, as a person does in MLflow's UI."""
        self.client.set_registered_model_alias(MODEL, alias, self.number(version))

    def tags(self, version: str) -> dict[str, str]:
        """Return what the MLflow version says of itself."""
        return dict(self.client.get_model_version(MODEL, self.number(version)).tags)

    def named_by(self, alias: str) -> str:
        """Return MLflow's number of the version that an alias names."""
        return str(self.client.get_registered_model(MODEL).aliases.get(alias, ""))
