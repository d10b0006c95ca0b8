"""Carrying a plan out: one item after the other, each looked at once more right before it goes.

Whatever is killed in the middle, what is left is what another look finds. Of a version the manifest goes first, so that
nobody sees half of it: its files are then files that no manifest names. Its registration in MLflow goes last, and is
until then one without artefact. Of a batch the row goes first: its object is then one without row. One collection
runs at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from contract.errors import CorruptArtifact
from store.batch_retention import BatchRetention
from store.errors import ObjectMissing, StoreUnavailable
from store.model_store import ModelStore
from store.objects import ObjectStore, Unfinished
from store.postgres import connection_options, postgres_errors
from store.serving import ServedVersions
from trainer.attempt import AttemptLock
from trainer.errors import AttemptRunning, TrackingRefused, TrackingUnavailable
from trainer.retention.mlflow_records import MlflowRecords
from trainer.retention.plan import Item, Kind, Plan

_log = logging.getLogger(__name__)

_LOCK = 7_355_611
Check = Callable[[], None]


class CollectionRunning(StoreUnavailable):
    """Another collection runs."""


@dataclass(frozen=True)
class Outcome:
    """What became of an item: it is gone, or ``kept`` says why not; ``failed`` if that is because a store refused."""

    item: Item
    kept: str | None = None
    failed: bool = False


class _Kept(Exception):
    """The item stays; the message says why."""


@dataclass
class Collector:
    """Removes what a plan names.

    Args:
        url: the database, for the lock.
        batches: the log of batches.
        objects: the object store.
        models: the model store in it.
        served: what is served by default.
        mlflow: MLflow.
        attempts: keeps trainings away from files that are being removed.

    """

    url: str
    batches: BatchRetention
    objects: ObjectStore
    models: ModelStore
    served: ServedVersions
    mlflow: MlflowRecords
    attempts: AttemptLock

    def carry_out(self, plan: Plan) -> Iterator[Outcome]:
        """Remove the items of a plan, and yield what became of each.

        Raises:
            CollectionRunning: another one runs.
            StoreUnavailable: PostgreSQL or the object store is away; what is left is found another time.

        """
        away: str | None = None
        with self._alone() as still_alone:
            for item in plan.items:
                still_alone()
                if away is not None and item.kind in _OF_MLFLOW:
                    yield Outcome(item, away, failed=True)
                    continue
                try:
                    self._remove(item, plan)
                except (_Kept, AttemptRunning) as reason:
                    yield Outcome(item, str(reason))
                except TrackingRefused as error:
                    yield Outcome(item, str(error), failed=True)
                except TrackingUnavailable as error:
                    away = str(error)
                    yield Outcome(item, away, failed=True)
                else:
                    yield Outcome(item)

    def _remove(self, item: Item, plan: Plan) -> None:
        _log.info("removing %s %s of %s: %s", item.kind, item.id, item.model or "?", item.why)
        _REMOVE[item.kind](self, item, plan)

    def _upload(self, item: Item, plan: Plan) -> None:
        self.objects.abandon(Unfinished(item.keys[0], item.id, plan.now))

    def _batch_object(self, item: Item, _plan: Plan) -> None:
        if self.batches.known([item.id]):
            raise _Kept("its batch was accepted meanwhile")
        self._delete(item.keys)

    def _batch(self, item: Item, _plan: Plan) -> None:
        if not self.batches.remove(item.id):
            raise _Kept("it is to be trained after all, or is gone")
        self._delete(item.keys)

    def _version_files(self, item: Item, _plan: Plan) -> None:
        batch = self.batches.of_version(item.model, item.id)
        if batch is None:  # nobody can be at it, or ever will be
            self._delete(item.keys)
            return
        # An attempt that found them there would publish a manifest of files that are gone.
        with self.attempts.held(batch):
            if self.batches.is_pending(batch):
                raise _Kept("it is to be trained after all")
            self._refuse_if_named(item)
            self._delete(item.keys)

    def _refuse_if_named(self, item: Item) -> None:
        try:
            manifest = self.models.manifest(item.model, item.id)
        except ObjectMissing:
            return
        except CorruptArtifact as fault:
            raise _Kept(str(fault)) from fault
        if {manifest.forest.key, manifest.probe.key}.intersection(item.keys):
            raise _Kept("its manifest was written meanwhile")

    def _version(self, item: Item, plan: Plan) -> None:
        self._refuse_if_referenced(item)
        if item.run:
            # Before the manifest: after it, only this tells the run from that of a lost attempt.
            self.mlflow.note_collected(item.run, plan.now)
        self._delete(item.keys)
        if item.number is not None:
            self.mlflow.delete_registration(item.model, item.number)

    def _refuse_if_referenced(self, item: Item) -> None:
        served = self.served.all().get(item.model)
        if served is not None and served.version == item.id:
            raise _Kept("it is served by default")
        if item.number is not None and (holds := self.mlflow.holds(item.model, item.number)):
            raise _Kept(holds)

    def _registration(self, item: Item, _plan: Plan) -> None:
        if holds := self.mlflow.holds(item.model, item.id):
            raise _Kept(holds)
        self.mlflow.delete_registration(item.model, item.id)

    def _run(self, item: Item, _plan: Plan) -> None:
        if uses := self.mlflow.uses(item.id):
            raise _Kept(uses)
        self.mlflow.delete_run(item.id)

    def _delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.objects.delete(key)

    @contextmanager
    def _alone(self) -> Iterator[Check]:
        """Hold the lock that one collection at a time can hold; yield a check that it is still held."""
        with postgres_errors(), psycopg.connect(self.url, autocommit=True, **connection_options()) as connection:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
            if row is None or not row[0]:
                raise CollectionRunning("another garbage collection is running", retry_after=60)
            yield lambda: _check(connection)


def _check(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    with postgres_errors():
        connection.execute("SELECT 1")


_REMOVE: dict[Kind, Callable[[Collector, Item, Plan], None]] = {
    "upload": Collector._upload,
    "batch object": Collector._batch_object,
    "version files": Collector._version_files,
    "version": Collector._version,
    "registration": Collector._registration,
    "run": Collector._run,
    "batch": Collector._batch,
}
_OF_MLFLOW: frozenset[Kind] = frozenset({"version", "registration", "run"})
