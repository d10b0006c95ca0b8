"""Garbage collection put together from the trainer's settings. Importing this imports MLflow, which takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime

from store.batch_retention import BatchRetention
from store.migrate import making_mlflow_tables
from store.model_store import ModelStore
from store.object_url import open_objects
from store.postgres import Postgres
from store.serving import ServedVersions
from trainer.attempt import AttemptLock
from trainer.errors import TrackingRefused, TrackingUnavailable
from trainer.retention.collecting import Collector, Outcome
from trainer.retention.finding import Finder, Progress
from trainer.retention.mlflow_records import MlflowRecords
from trainer.retention.plan import Plan, Policy
from trainer.settings import TrainerSettings


@dataclass(frozen=True)
class GarbageCollection:
    """Finds what may go, which changes nothing, and removes it."""

    finder: Finder
    collector: Collector

    def find(self, policy: Policy, progress: Progress = lambda _: None) -> Plan:
        """Return what may go (see :meth:`Finder.find`)."""
        return self.finder.find(policy, progress)

    def carry_out(self, plan: Plan) -> Iterator[Outcome]:
        """Remove it, one after the other as the outcomes are asked for (see :meth:`Collector.carry_out`)."""
        return self.collector.carry_out(plan)


def build(
    settings: TrainerSettings, postgres: Postgres, *, clock: Callable[[], datetime] | None = None
) -> GarbageCollection:
    """Put garbage collection together.

    Args:
        settings: where everything is.
        postgres: the database, open.
        clock: gives the time of now; by default PostgreSQL does.

    Raises:
        StoreUnavailable: PostgreSQL or the object store is not there. That MLflow is not, is told by the plan.

    """
    objects = open_objects(settings.object_store)
    batches, served = BatchRetention(postgres), ServedVersions(postgres)
    models, mlflow = ModelStore(objects), _mlflow(settings)
    return GarbageCollection(
        Finder(batches, objects, models, served, mlflow, clock or batches.now),
        Collector(settings.database_url, batches, objects, models, served, mlflow, AttemptLock(settings.database_url)),
    )


def _mlflow(settings: TrainerSettings) -> MlflowRecords:
    """Return MLflow, with its tables made where it has no server that makes them."""
    records = MlflowRecords(settings.mlflow_tracking_uri)
    is_server = settings.mlflow_tracking_uri.startswith(("http://", "https://"))
    with (
        nullcontext() if is_server else making_mlflow_tables(settings.database_url),
        suppress(TrackingRefused, TrackingUnavailable),
    ):
        records.prepare()
    return records
