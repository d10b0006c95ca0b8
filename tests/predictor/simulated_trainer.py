"""A trainer and controller in a thread: they do to each queued batch what the test has ordered."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

from store.errors import StoreUnavailable
from store.ingest_log import BatchRow, IngestLog
from store.model_store import ModelStore
from store.objects import ObjectStore
from store.postgres import Postgres
from store.queue import TrainingQueue
from store.serving import ServedVersions
from tests.predictor.forests import publish, stump_forest

Order = Literal["serve", "refuse", "fail", "hold"]


class SimulatedTrainer:
    """Looks for queued batches until stopped; ``order`` says what becomes of the next ones."""

    def __init__(self, url: str, objects: ObjectStore) -> None:
        self.postgres = Postgres(url)
        self.postgres.open()
        self.log = IngestLog(self.postgres, objects, TrainingQueue(self.postgres))
        self.models = ModelStore(objects)
        self.served = ServedVersions(self.postgres)
        self.order: Order = "serve"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to train."""
        self._thread.start()

    def stop(self) -> None:
        """Stop training."""
        self._stopped.set()
        self._thread.join()
        self.postgres.close()

    def queued(self) -> list[str]:
        """Return the ids of the batches that wait, oldest first."""
        with self.postgres.transaction() as connection:
            rows = connection.execute("SELECT id::text FROM batches WHERE state = 'queued' ORDER BY version").fetchall()
        return [row[0] for row in rows]

    def count(self) -> int:
        """Return the number of batches."""
        with self.postgres.transaction() as connection:
            row = connection.execute("SELECT count(*) FROM batches").fetchone()
        return int(row[0]) if row else 0

    def _run(self) -> None:
        while not self._stopped.wait(0.02):
            with suppress(StoreUnavailable):  # as a real one, it tries again when PostgreSQL is back
                self._train_queued()

    def _train_queued(self) -> None:
        if self.order != "hold":
            for batch_id in self.queued():
                self.train(self.log.get(batch_id), self.order)

    def train(self, row: BatchRow, order: Order) -> None:
        """Do to a batch what ``order`` says."""
        self.log.start_training(row.id)
        if order == "fail":
            self.log.fail_training(row.id, "the rows are cursed")
            return
        names = self.log.signature(row.model) or ()
        manifest = publish(self.models, row.model, row.version, stump_forest(names), batch_id=row.id)
        self.log.finish_training(row.id)
        if order == "serve":
            self.served.serve(row.model, row.version, manifest.forest.digest)
        self.log.record_gate(row.id, "passed" if order == "serve" else "refused", f"ordered: {order}")


def now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)
