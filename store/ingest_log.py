"""The log of accepted batches: durable before it is acknowledged, and each the cause of one model version.

The batch's Parquet object is written first. Then one transaction records the batch, gives it its version id, keeps the
idempotency key and queues the training. A crash before the commit leaves an object that nothing refers to
and a client without an answer; a crash after it leaves everything in place.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from contract.columns import Batch
from contract.digests import digest_of
from contract.names import batch_key
from contract.version_ids import next_version_id
from store.encoded_batch import EncodedBatch
from store.errors import KeyInUse, SignatureMismatch, StoreUnavailable
from store.objects import ObjectStore
from store.postgres import Connection, Postgres
from store.queue import TrainingQueue

_log = logging.getLogger(__name__)

BATCHES_CHANNEL = "telltale_batches"
State = Literal["queued", "training", "done", "failed"]


@dataclass(frozen=True)
class BatchRow:
    """One accepted batch and what became of it.

    ``gate`` is the offline gate's verdict on its version: None until it is given; ``gate_reason`` says why it refused.
    """

    id: str
    model: str
    version: str
    object_key: str
    digest: str
    record_count: int
    received_at: datetime
    state: State
    error: str | None
    warnings: list[str]
    gate: Literal["passed", "refused"] | None
    gate_reason: str | None

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to it: training failed, or the gate gave its verdict."""
        return self.state == "failed" or (self.state == "done" and self.gate is not None)


@dataclass(frozen=True)
class IdempotencyKey:
    """A client's ``Idempotency-Key`` with the digest of the body that came with it."""

    key: str
    body_digest: str


@dataclass(frozen=True)
class KeyRecord:
    """What an idempotency key was first used for, and the answer that was given, once one was."""

    body_digest: str
    batch_id: str
    status: int | None
    answer: dict[str, Any] | None


_COLUMNS: LiteralString = (
    "id::text, model, version, object_key, digest, record_count, received_at, state, error, warnings, gate, gate_reason"
)
_INSERT: LiteralString = (
    "INSERT INTO batches (id, model, version, object_key, digest, record_count, received_at, warnings)"
    f" VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}"
)


class IngestLog:
    """Accepts batches and follows them to the version that they become."""

    def __init__(self, postgres: Postgres, objects: ObjectStore, queue: TrainingQueue) -> None:
        self._postgres = postgres
        self._objects = objects
        self._queue = queue

    def signature(self, model: str) -> tuple[str, ...] | None:
        """Return the feature names that a model's first batch set, or None if there was none."""
        with self._postgres.transaction() as connection:
            row = connection.execute("SELECT feature_names FROM models WHERE name = %s", (model,)).fetchone()
        return tuple(row[0]) if row else None

    def find_key(self, key: str) -> KeyRecord | None:
        """Return what an idempotency key was first used for, or None if it is new."""
        with self._postgres.transaction() as connection, connection.cursor(row_factory=class_row(KeyRecord)) as cursor:
            return cursor.execute(
                "SELECT body_digest, batch_id::text, status, answer FROM idempotency_keys WHERE key = %s", (key,)
            ).fetchone()

    def keep_answer(self, key: str, status: int, answer: dict[str, Any]) -> None:
        """Record the answer to an idempotency key's request, so that a repeat gets the same."""
        with self._postgres.transaction() as connection:
            connection.execute(
                "UPDATE idempotency_keys SET status = %s, answer = %s WHERE key = %s AND status IS NULL",
                (status, Jsonb(answer), key),
            )

    def accept(
        self,
        batch: EncodedBatch,
        *,
        now: datetime,
        warnings: list[str],
        key: IdempotencyKey | None = None,
        traceparent: str | None = None,
    ) -> BatchRow:
        """Store a batch durably and queue its training; when this returns, it survives any crash.

        ``traceparent`` names the span of the request, if that is traced; the training continues its trace.

        Raises:
            SignatureMismatch: the model has other features.
            KeyInUse: the idempotency key was used before; see :meth:`find_key`.
            StoreUnavailable: it was not accepted, or (should the connection break during the commit) nobody can tell;
                an idempotency key makes it safe to send again.

        """
        batch_id = str(uuid.uuid4())
        object_key, digest = batch_key(batch.model, batch_id), digest_of(batch.data)
        self._objects.create(object_key, batch.data)
        try:
            with self._postgres.transaction() as connection:
                self._claim_key(connection, key, batch_id)
                version = self._next_version(connection, batch, now)
                values = (batch_id, batch.model, version, object_key, digest, batch.record_count, now, warnings)
                with connection.cursor(row_factory=class_row(BatchRow)) as cursor:
                    (row,) = cursor.execute(_INSERT, values).fetchall()
                self._queue.defer(connection, batch_id=batch_id, model=batch.model, traceparent=traceparent)
        except (SignatureMismatch, KeyInUse):
            self._objects.delete(object_key)
            raise
        # On StoreUnavailable the commit may have happened without our hearing of it, so the object stays.
        return row

    def _claim_key(self, connection: Connection, key: IdempotencyKey | None, batch_id: str) -> None:
        if key is None:
            return
        try:
            connection.execute(
                "INSERT INTO idempotency_keys (key, body_digest, batch_id) VALUES (%s, %s, %s)",
                (key.key, key.body_digest, batch_id),
            )
        except psycopg.errors.UniqueViolation:
            raise KeyInUse(key.key) from None

    def _next_version(self, connection: Connection, batch: EncodedBatch, now: datetime) -> str:
        """Return the next version id of the batch's model, whose row is locked until the transaction ends."""
        connection.execute(
            "INSERT INTO models (name, feature_names) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (batch.model, list(batch.feature_names)),
        )
        row = connection.execute(
            "SELECT feature_names FROM models WHERE name = %s FOR UPDATE", (batch.model,)
        ).fetchone()
        if row is None:
            raise StoreUnavailable(f"model {batch.model!r} was removed while a batch was accepted")
        if tuple(row[0]) != batch.feature_names:
            raise SignatureMismatch(batch.model, tuple(row[0]))
        # A statement of its own, begun after the lock was got: only so does it see what the last holder took.
        newest = connection.execute("SELECT max(version) FROM batches WHERE model = %s", (batch.model,)).fetchone()
        return next_version_id(now, newest[0] if newest else None)

    def find(self, batch_id: str) -> BatchRow | None:
        """Return a batch by its id, or None."""
        with self._postgres.transaction() as connection, connection.cursor(row_factory=class_row(BatchRow)) as cursor:
            return cursor.execute(f"SELECT {_COLUMNS} FROM batches WHERE id = %s", (batch_id,)).fetchone()

    def get(self, batch_id: str) -> BatchRow:
        """Return a batch by its id, which is known to exist."""
        row = self.find(batch_id)
        if row is None:
            raise StoreUnavailable(f"batch {batch_id} is not in the log")
        return row

    def of_version(self, model: str, version: str) -> BatchRow | None:
        """Return the batch that a model version was trained for, or None."""
        with self._postgres.transaction() as connection, connection.cursor(row_factory=class_row(BatchRow)) as cursor:
            query = f"SELECT {_COLUMNS} FROM batches WHERE model = %s AND version = %s"
            return cursor.execute(query, (model, version)).fetchone()

    def ungated(self) -> list[BatchRow]:
        """Return the batches whose version is trained and has no verdict of the offline gate yet, oldest first."""
        with self._postgres.transaction() as connection, connection.cursor(row_factory=class_row(BatchRow)) as cursor:
            query = f"SELECT {_COLUMNS} FROM batches WHERE state = 'done' AND gate IS NULL ORDER BY version"
            return cursor.execute(query).fetchall()

    def window(self, row: BatchRow, *, records: int, batches: int = 1_000) -> list[BatchRow]:
        """Return ``row`` and up to ``batches`` in all before it, newest first, until they hold ``records`` records."""
        query = f"SELECT {_COLUMNS} FROM batches WHERE model = %s AND version <= %s ORDER BY version DESC LIMIT %s"
        chosen: list[BatchRow] = []
        held = 0
        with self._postgres.transaction() as connection, connection.cursor(row_factory=class_row(BatchRow)) as cursor:
            for earlier in cursor.stream(query, (row.model, row.version, batches)):
                chosen.append(earlier)
                held += earlier.record_count
                if held >= records:
                    break
        return chosen

    def read(self, row: BatchRow) -> Batch:
        """Return a batch's records, checked against the digest in the log."""
        # Imported by those alone who read batches: a predictor has no use for Parquet's 30 MB.
        from store.parquet import decode_batch  # noqa: PLC0415

        return decode_batch(self._objects.read(row.object_key, digest=row.digest))

    def start_training(self, batch_id: str) -> None:
        """Record that a trainer took the batch."""
        self._update("state = 'training' WHERE id = %s AND state IN ('queued', 'failed')", (batch_id,), batch_id)

    def finish_training(self, batch_id: str) -> None:
        """Record that the batch's version is registered and in the model store."""
        change = "state = 'done', error = NULL, setback = NULL, finished_at = now() WHERE id = %s"
        self._update(change, (batch_id,), batch_id)

    def fail_training(self, batch_id: str, error: str) -> None:
        """Record that the batch's training failed for good, and why."""
        self._update("state = 'failed', error = %s, finished_at = now() WHERE id = %s", (error, batch_id), batch_id)

    def record_gate(self, batch_id: str, verdict: Literal["passed", "refused"], reason: str) -> None:
        """Record the offline gate's verdict on the batch's version."""
        self._update("gate = %s, gate_reason = %s WHERE id = %s", (verdict, reason, batch_id), batch_id)

    def _update(self, change: LiteralString, values: tuple[object, ...], batch_id: str) -> None:
        with self._postgres.transaction() as connection:
            connection.execute(f"UPDATE batches SET {change}", values)
            connection.execute("SELECT pg_notify(%s, %s)", (BATCHES_CHANNEL, batch_id))
