"""A training put together as the composition root does it, on a real PostgreSQL with MLflow's store in it."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

with warnings.catch_warnings():
    # Importing MLflow warns of its own type hints and of pydantic's and protobuf's older ways.
    warnings.simplefilter("ignore")
    import mlflow.pyfunc  # noqa: F401 - trainer.tracking imports it, and here its warnings end
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

from contract.columns import Batch
from contract.names import TAG_BATCH
from standalone.embedded_postgres import EmbeddedPostgres
from store.ingest_log import BatchRow, IngestLog
from store.local_objects import LocalObjectStore
from store.migrate import sqlalchemy_url
from store.model_store import ModelStore
from store.parquet import encode_batch
from store.postgres import Postgres
from store.queue import TrainingQueue
from tests.trainer.processes import Process
from trainer.composition import build_training
from trainer.settings import TrainerSettings
from trainer.training import Training

# What MLflow does to the libraries below it warns of; none of it is ours to change.
MLFLOW_WARNINGS = [
    pytest.mark.filterwarnings(f"ignore:{said}")
    for said in (".*``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",)
]
NOW = datetime(2024, 1, 15, 10, 0, tzinfo=UTC)
_TEMPLATE = "template_telltale_mlflow"
_numbers = itertools.count(1)


def batch(X: NDArray[np.float64], model: str = "default", start: datetime = NOW) -> Batch:
    """Rows as a batch, a minute apart."""
    stamps = int(start.timestamp() * 1e6) + 60_000_000 * np.arange(len(X), dtype=np.int64)
    names = tuple(f"f{i}" for i in range(X.shape[1]))
    return Batch(model, names, [f"VH-{i:03}" for i in range(len(X))], stamps, X)


def random_batch(records: int, features: int = 4, seed: int = 0, model: str = "default") -> Batch:
    return batch(np.random.default_rng(seed).normal(size=(records, features)), model)


@dataclass
class Bench:
    """A trainer's parts, and what a test wants to look at."""

    settings: TrainerSettings
    postgres: Postgres
    log: IngestLog
    models: ModelStore
    training: Training
    client: MlflowClient
    root: Path

    def accept(self, batch: Batch, *, after: int = 0) -> BatchRow:
        return self.log.accept(encode_batch(batch), now=NOW + timedelta(seconds=after), warnings=[])

    def versions(self, model: str = "default") -> list[ModelVersion]:
        return list(self.client.search_model_versions(f"name = '{model}'"))

    def runs(self, model: str = "default") -> list[Run]:
        experiment = self.client.get_experiment_by_name(model)
        return [] if experiment is None else list(self.client.search_runs([experiment.experiment_id]))

    def candidate(self, model: str = "default") -> ModelVersion:
        return self.client.get_model_version_by_alias(model, "candidate")

    def assert_trained_once(self, rows: Sequence[BatchRow]) -> None:
        """Each batch is done, with one finished run, one version and one manifest, which agree."""
        for row in rows:
            manifest = self.models.manifest(row.model, row.version)
            (version,) = [v for v in self.versions(row.model) if v.tags[TAG_BATCH] == row.id]
            (run,) = [r for r in self.runs(row.model) if r.data.tags[TAG_BATCH] == row.id]
            assert self.log.get(row.id).state == "done"
            assert run.info.status == "FINISHED"
            assert (run.info.run_id, str(version.version)) == (manifest.mlflow_run_id, manifest.mlflow_version)
            assert version.run_id == run.info.run_id
            assert version.tags["telltale.version"] == run.data.tags["telltale.version"] == row.version
            assert version.tags["telltale.artifact_digest"] == manifest.forest.digest
            assert version.tags["telltale.training_digest"] == manifest.training_digest
            assert self.models.load(manifest).training_digest == manifest.training_digest
        assert len(self.versions(rows[0].model)) == len(self.runs(rows[0].model)) == len(rows)


@pytest.fixture(scope="session")
def mlflow_template(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with our schema and MLflow's tables; making those takes seconds, copying does not."""
    # A module that imports this fixture makes it once more, so the name is new each time.
    template = f"{_TEMPLATE}_{next(_numbers)}"
    url = _sibling(postgres_server.url, template)
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {template} TEMPLATE template_telltale")
    settings = settings_for(url, tmp_path_factory.mktemp("template"))
    postgres = Postgres(url)
    build_training(settings, postgres)
    _forget_engines(url)
    return template


@pytest.fixture
def settings(
    postgres_server: EmbeddedPostgres, mlflow_template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TrainerSettings]:
    """A trainer's settings for a fresh database."""
    # MLflow keeps the store of each address for good; the address is new each time, so only connections are kept.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///must-not-be-used.db")
    name = f"trainer_{next(_numbers)}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {mlflow_template}")
    url = _sibling(postgres_server.url, name)
    yield settings_for(url, tmp_path)
    _forget_engines(url)


def settings_for(url: str, folder: Path, **more: Any) -> TrainerSettings:
    return TrainerSettings(
        database_url=url,
        mlflow_tracking_uri=sqlalchemy_url(url),
        object_store=str(folder / "objects"),
        mlflow_artifact_root=folder / "mlflow",
        n_estimators=20,
        **more,
    )


@pytest.fixture
def bench(settings: TrainerSettings) -> Iterator[Bench]:
    """A trainer's parts on a fresh database."""
    with bench_for(settings) as parts:
        yield parts


@contextmanager
def bench_for(settings: TrainerSettings) -> Iterator[Bench]:
    postgres = Postgres(settings.database_url)
    postgres.open()
    objects = LocalObjectStore(Path(settings.object_store))
    yield Bench(
        settings=settings,
        postgres=postgres,
        log=IngestLog(postgres, objects, TrainingQueue(postgres)),
        models=ModelStore(objects),
        training=build_training(settings, postgres),
        client=MlflowClient(settings.mlflow_tracking_uri, settings.mlflow_tracking_uri),
        root=Path(settings.object_store).parent,
    )
    postgres.close()


@pytest.fixture
def start(settings: TrainerSettings, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start trainers as processes; whatever still runs at the end is killed."""
    started: list[Process] = []

    def begin(settings: TrainerSettings = settings, **more: Any) -> Process:
        process = Process(settings, tmp_path / f"trainer-{len(started)}.log", **more)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


def _forget_engines(url: str) -> None:
    """Close MLflow's connections to a database; it keeps them as long as the process lives."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

    for store in (TrackingStore, RegistryStore):
        engines = getattr(store, "_engine_map", {})
        for address in [address for address in engines if address == sqlalchemy_url(url)]:
            engines[address].dispose()


def _sibling(url: str, database: str) -> str:
    return f"{url.rpartition('/')[0]}/{database}"
