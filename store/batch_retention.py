"""The log of batches as garbage collection sees it: what is in it, what is pending, and removing a batch from it.

A batch goes row first and object second. A crash in between leaves an object without a row, as a crash of ``/ingest``
does, and whatever finds the one finds the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg.rows import class_row

from store.postgres import Postgres
from store.queue import QUEUE

_PAGE = 5_000
# A batch is pending while a worker may still be at it, or the gate has not judged what came of it.
_SETTLED: LiteralString = "(b.state = 'failed' OR (b.state = 'done' AND b.gate IS NOT NULL))"
_HAS_JOB: LiteralString = (
    "EXISTS (SELECT FROM procrastinate_jobs q WHERE q.args ->> 'batch_id' = b.id::text"
    f" AND q.status IN ('todo', 'doing') AND q.queue_name = '{QUEUE}')"
)
_ROWS: LiteralString = (
    "SELECT b.id::text, b.version, b.object_key, b.record_count, b.state = 'failed' AS failed,"
    f" greatest(b.received_at, b.finished_at) AS touched, NOT {_SETTLED} OR {_HAS_JOB} AS pending"
    " FROM batches b WHERE b.model = %s AND b.version < %s ORDER BY b.version DESC LIMIT %s"
)
_PENDING: LiteralString = (
    f"SELECT b.id::text, b.version FROM batches b WHERE b.model = %(model)s AND NOT {_SETTLED} UNION"
    " SELECT b.id::text, b.version FROM procrastinate_jobs q JOIN batches b ON b.id::text = q.args ->> 'batch_id'"
    f" WHERE b.model = %(model)s AND q.status IN ('todo', 'doing') AND q.queue_name = '{QUEUE}'"
)
_AFTER_ALL = "99999999999999"


@dataclass(frozen=True, slots=True)
class LoggedBatch:
    """One row of the log.

    ``touched`` is when something last happened to it. ``pending`` ones have a training or a verdict before them;
    ``failed`` ones wait for a person.
    """

    id: str
    version: str
    object_key: str
    record_count: int
    failed: bool
    touched: datetime
    pending: bool


class BatchRetention:
    """Reads the log a page at a time, and removes from it."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def now(self) -> datetime:
        """Return the database's time."""
        with self._postgres.transaction() as connection:
            ((now,),) = connection.execute("SELECT clock_timestamp()").fetchall()
        return now  # type: ignore[no-any-return]

    def models(self) -> dict[str, int]:
        """Return how many features each model has."""
        with self._postgres.transaction() as connection:
            return dict(connection.execute("SELECT name, cardinality(feature_names) FROM models").fetchall())

    def newest_first(self, model: str) -> Iterator[LoggedBatch]:
        """Yield a model's batches, newest first."""
        before = _AFTER_ALL
        while True:
            with (
                self._postgres.transaction() as connection,
                connection.cursor(row_factory=class_row(LoggedBatch)) as cursor,
            ):
                page = cursor.execute(_ROWS, (model, before, _PAGE)).fetchall()
            yield from page
            if len(page) < _PAGE:
                return
            before = page[-1].version

    def pending(self, model: str) -> dict[str, str]:
        """Return the batches with a training or a verdict before them: id to version."""
        with self._postgres.transaction() as connection:
            return dict(connection.execute(_PENDING, {"model": model}).fetchall())

    def known(self, batch_ids: Sequence[str]) -> set[str]:
        """Return those of the ids that have a row."""
        with self._postgres.transaction() as connection:
            rows = connection.execute("SELECT id::text FROM batches WHERE id = ANY(%s::uuid[])", (list(batch_ids),))
            return {row[0] for row in rows}

    def of_version(self, model: str, version: str) -> str | None:
        """Return the id of the batch that a version is or was trained for, or None if it has no row."""
        query = "SELECT id::text FROM batches WHERE model = %s AND version = %s"
        with self._postgres.transaction() as connection:
            row = connection.execute(query, (model, version)).fetchone()
        return None if row is None else str(row[0])

    def is_pending(self, batch_id: str) -> bool:
        """Tell whether a batch has a training or a verdict before it."""
        query = f"SELECT 1 FROM batches b WHERE b.id = %s AND (NOT {_SETTLED} OR {_HAS_JOB})"
        with self._postgres.transaction() as connection:
            return connection.execute(query, (batch_id,)).fetchone() is not None

    def remove(self, batch_id: str) -> bool:
        """Remove a batch's row and its idempotency key; False if it is not there, or is to be trained after all."""
        with self._postgres.transaction() as connection:
            # The queue's jobs are locked before the batch, as by all who change both.
            jobs = connection.execute(
                "SELECT status IN ('todo', 'doing') FROM procrastinate_jobs"
                " WHERE args ->> 'batch_id' = %s AND queue_name = %s FOR UPDATE",
                (batch_id, QUEUE),
            ).fetchall()
            if any(is_to_do for (is_to_do,) in jobs):
                return False
            if connection.execute(f"DELETE FROM batches b WHERE b.id = %s AND {_SETTLED}", (batch_id,)).rowcount == 0:
                return False
            connection.execute("DELETE FROM idempotency_keys WHERE batch_id = %s", (batch_id,))
        return True
