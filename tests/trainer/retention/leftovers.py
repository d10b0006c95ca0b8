"""What crashes, people and time leave of a model: in PostgreSQL, the object store and MLflow, all real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from mlflow import MlflowClient

from contract.columns import Batch
from contract.forest_file import encode_forest
from contract.manifest import Manifest, StoredFile, encode_probe
from contract.names import TAG_BATCH, TAG_COLLECTED, TAG_VERSION, batch_key
from store.ingest_log import BatchRow, IngestLog
from store.model_store import ModelStore
from store.object_url import open_objects
from store.objects import ObjectStore
from store.parquet import encode_batch
from store.postgres import Postgres
from store.queue import TrainingQueue, withdraw
from store.serving import ServedVersions
from tests.mortal import Port
from tests.predictor.forests import stump_forest
from trainer.retention.composition import GarbageCollection, build
from trainer.retention.plan import Plan, Policy
from trainer.settings import TrainerSettings
from trainer.window import Bounds

NAMES = ("f0", "f1")
ACCEPTED = datetime(2024, 1, 15, 10, tzinfo=UTC)
# All that a test makes is so old when it is looked at.
AGE = timedelta(days=200)
POLICY = Policy(newest_versions=1, window=Bounds(records=1))
STRAY = "11111111-1111-4111-8111-111111111111"


@dataclass(frozen=True)
class Made:
    """A version as a trainer makes it: its batch, its number and run in MLflow, and its files."""

    row: BatchRow
    number: str
    run: str
    keys: tuple[str, ...]


@dataclass
class Home:
    """All stores of one installation, with garbage collection looking at them from the future."""

    settings: TrainerSettings
    postgres: Postgres
    objects: ObjectStore
    log: IngestLog
    models: ModelStore
    served: ServedVersions
    client: MlflowClient
    gc: GarbageCollection
    accepted: int = field(default=0)

    @classmethod
    def at(cls, settings: TrainerSettings, postgres: Postgres) -> Home:
        """Open the stores that the settings name."""
        objects = open_objects(settings.object_store)
        uri = settings.mlflow_tracking_uri
        return cls(
            settings=settings,
            postgres=postgres,
            objects=objects,
            log=IngestLog(postgres, objects, TrainingQueue(postgres)),
            models=ModelStore(objects),
            served=ServedVersions(postgres),
            client=MlflowClient(uri, uri),
            gc=build(settings, postgres, clock=lambda: datetime.now(UTC) + AGE),
        )

    def accept(self, model: str) -> BatchRow:
        """A batch that waits for its training."""
        self.accepted += 1
        batch = Batch(model, NAMES, ["VH-1"], np.array([self.accepted], np.int64), np.full((1, 2), self.accepted))
        return self.log.accept(encode_batch(batch), now=ACCEPTED + timedelta(seconds=self.accepted), warnings=[])

    def settled(self, model: str, *, failed: bool = False) -> BatchRow:
        """A batch whose training is over."""
        row = self.accept(model)
        with self.postgres.transaction() as connection:
            withdraw(connection, row.id)
        if failed:
            self.log.fail_training(row.id, "no luck")
        else:
            self.log.finish_training(row.id)
            self.log.record_gate(row.id, "passed", "Passed: fine")
        return self.log.get(row.id)

    def attempt(self, row: BatchRow) -> tuple[StoredFile, StoredFile]:
        """The files of a training."""
        forest = stump_forest(NAMES, threshold=float(row.version))
        return (
            self.models.put_forest(row.model, row.version, encode_forest(forest)),
            self.models.put_probe(row.model, row.version, encode_probe(np.zeros((1, 2)), np.zeros(1))),
        )

    def registered(self, row: BatchRow) -> tuple[str, str]:
        """A run and a registration; returns the MLflow number and the run."""
        run = self.run(row.model, row.id, row.version)
        source = f"runs:/{run}/model"
        tags = {TAG_BATCH: row.id, TAG_VERSION: row.version}
        version = self.client.create_model_version(row.model, source, run, tags=tags)
        return str(version.version), run

    def run(self, model: str, batch: str, version: str = "") -> str:
        """A run that is not registered."""
        experiment = self.client.get_experiment_by_name(model)
        if experiment is None:
            self.client.create_experiment(model)
            self.client.create_registered_model(model)
            experiment = self.client.get_experiment_by_name(model)
            assert experiment is not None
        tags = {TAG_BATCH: batch} | ({TAG_VERSION: version} if version else {})
        return str(self.client.create_run(experiment.experiment_id, tags=tags).info.run_id)

    def publish(self, row: BatchRow) -> Made:
        """A whole version of a batch."""
        forest, probe = self.attempt(row)
        number, run = self.registered(row)
        manifest = Manifest(
            model=row.model,
            version=row.version,
            forest=forest,
            probe=probe,
            feature_names=NAMES,
            batch_id=row.id,
            training_digest="sha256:0",
            training_records=1,
            mlflow_run_id=run,
            mlflow_version=number,
            created_at=ACCEPTED,
        )
        self.models.publish(manifest)
        return Made(row, number, run, (forest.key, probe.key))

    def version(self, model: str) -> Made:
        """A whole version."""
        return self.publish(self.settled(model))

    def collect(self, policy: Policy = POLICY) -> Plan:
        """Find what may go and remove it; all of it must go."""
        plan = self.gc.find(policy)
        assert [outcome for outcome in self.gc.carry_out(plan) if outcome.kept] == []
        return plan

    def what_is_there(self, model: str) -> dict[str, Any]:
        """Everything of a model, in all places."""
        experiment = self.client.get_experiment_by_name(model)
        runs = [] if experiment is None else list(self.client.search_runs([experiment.experiment_id]))
        with self.postgres.transaction() as connection:
            rows = connection.execute("SELECT id::text FROM batches WHERE model = %s", (model,)).fetchall()
        return {
            "rows": {row[0] for row in rows},
            "objects": {key for prefix in ("batches", "models") for key in self.objects.keys(f"{prefix}/{model}/")},
            "versions": self.models.versions(model),
            "registered": {str(v.version) for v in self.client.search_model_versions(f"name = '{model}'")},
            "runs": {run.info.run_id for run in runs},
            "collected": {run.info.run_id for run in runs if TAG_COLLECTED in run.data.tags},
        }


@dataclass(frozen=True)
class Leftovers:
    """A model of four batches: one whose version is old, the champion, the newest, and one that failed at the end."""

    old: Made
    champion: Made
    newest: Made
    failed: BatchRow

    def rest(self) -> dict[str, Any]:
        """What must be left in all places."""
        champion, newest = self.champion, self.newest
        manifests = {f"models/{m.row.model}/{m.row.version}/manifest.json" for m in (champion, newest)}
        return {
            "rows": {champion.row.id, self.failed.id},
            "objects": {champion.row.object_key, self.failed.object_key, *champion.keys, *newest.keys} | manifests,
            "versions": [champion.row.version, newest.row.version],
            "registered": {champion.number, newest.number},
            "runs": {self.old.run, champion.run, newest.run},
            "collected": {self.old.run},
        }


def leave(home: Home, model: str) -> Leftovers:
    """Make a model with one of everything that may go."""
    found = Leftovers(home.version(model), home.version(model), home.version(model), home.settled(model, failed=True))
    home.client.set_registered_model_alias(model, "champion", found.champion.number)
    home.attempt(found.failed)
    home.registered(found.failed)
    home.run(model, found.failed.id)
    home.run(model, "a batch that nobody knows")
    home.objects.create(batch_key(model, STRAY), b"stray")
    return found


def mortal(gc: GarbageCollection, on_call: Callable[[str], None]) -> GarbageCollection:
    """Garbage collection whose every call of a store is told to ``on_call``."""
    collector = gc.collector
    ports: dict[str, Any] = {
        name: Port(getattr(collector, name), on_call) for name in ("batches", "objects", "mlflow", "models", "served")
    }
    return replace(gc, collector=replace(collector, **ports))


def of_model(plan: Plan, model: str) -> Plan:
    """The part of a plan that is one model's."""
    return replace(plan, items=[item for item in plan.items if item.model == model])
