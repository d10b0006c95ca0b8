"""Training jobs as people see them: one for each batch, looked at, let be trained again, or taken out of the queue.

A job's id is its batch's, as in ``GET /ingest/{job}``. A job that has failed is a dead letter: its telemetry and its
version id are kept, and no worker touches it until a person retries it. A retry makes the version that the batch was
promised, never a second one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString

import psycopg
from psycopg.rows import class_row

from store.errors import StoreError
from store.ingest_log import BATCHES_CHANNEL, State
from store.postgres import Connection, Postgres
from store.queue import TrainingQueue, withdraw

Refusal = Literal["unknown", "not failed", "not queued"]
CANCELLED = "cancelled by a person while it waited in the queue"
_DIGITS = 32

_COLUMNS: LiteralString = (
    "b.id::text, b.model, b.version, b.state, b.record_count, b.received_at, b.attempts, b.faults, b.losses, b.worker,"
    " b.started_at, b.finished_at, coalesce(b.error, b.setback) AS reason, (SELECT min(q.scheduled_at)"
    " FROM procrastinate_jobs q WHERE q.args ->> 'batch_id' = b.id::text AND q.status = 'todo') AS next_attempt_at"
)
_RETRY: LiteralString = (
    "UPDATE batches SET state = 'queued', error = NULL, finished_at = NULL, attempts = 0, faults = 0, losses = 0"
    " WHERE id = %s"
)


class NoSchema(StoreError):
    """The database holds no schema of ours, or an older one."""


class JobRefused(StoreError):
    """What was asked cannot be done to this job; ``why`` says what it is instead."""

    def __init__(self, job: str, why: Refusal, state: State | None = None) -> None:
        super().__init__(f"job {job} is {why}" if state is None else f"job {job} is {why}: it is {state}")
        self.job = job
        self.why = why
        self.state = state


@dataclass(frozen=True)
class Job:
    """The training of one batch.

    ``attempts`` counts those since it was last queued by a person; of these ``faults`` failed and ``losses`` ended
    with their worker's process. ``reason`` is why it failed, or what the last attempt ended with.
    """

    id: str
    model: str
    version: str
    state: State
    record_count: int
    received_at: datetime
    attempts: int
    faults: int
    losses: int
    worker: str | None
    started_at: datetime | None
    finished_at: datetime | None
    reason: str | None
    next_attempt_at: datetime | None


class Jobs:
    """Looks at jobs and changes them."""

    def __init__(self, postgres: Postgres, queue: TrainingQueue) -> None:
        self._postgres = postgres
        self._queue = queue

    def listed(self, states: Sequence[State], *, model: str | None = None, limit: int = 100) -> list[Job]:
        """Return the newest jobs in the given states, oldest of them first."""
        query = (
            f"SELECT {_COLUMNS} FROM batches b WHERE b.state = ANY(%s) AND (%s::text IS NULL OR b.model = %s)"
            " ORDER BY b.received_at DESC, b.version DESC LIMIT %s"
        )
        return self._read(query, (list(states), model, model, limit))[::-1]

    def counted(self) -> dict[str, int]:
        """Return how many jobs are queued, in training and failed; those that are done are too many to count."""
        query = "SELECT state, count(*) FROM batches WHERE state <> 'done' GROUP BY state"
        with _told(), self._postgres.transaction() as connection:
            found = dict(connection.execute(query).fetchall())
        return {state: found.get(state, 0) for state in ("queued", "training", "failed")}

    def starting_with(self, prefix: str) -> list[Job]:
        """Return up to two jobs whose id starts with ``prefix``: more than one means that it is too short."""
        return self._read(f"SELECT {_COLUMNS} FROM batches b WHERE b.id BETWEEN %s AND %s LIMIT 2", _range(prefix))

    def retry(self, job: str) -> None:
        """Queue a failed job anew, behind those of its model that wait, with all of its attempts before it.

        Raises:
            JobRefused: there is no such job, or it has not failed.

        """
        with _told(), self._postgres.transaction() as connection:
            model, state = _locked(connection, job)
            if state != "failed":
                raise JobRefused(job, "not failed", state)
            self._requeue(connection, job, model)

    def retry_failed(self, *, model: str | None = None) -> list[Job]:
        """Queue every failed job anew, in the order of their versions; return them as they were."""
        query = (
            f"SELECT {_COLUMNS} FROM batches b WHERE b.state = 'failed' AND (%s::text IS NULL OR b.model = %s)"
            " ORDER BY b.version FOR UPDATE OF b"
        )
        with (
            _told(),
            self._postgres.transaction() as connection,
            connection.cursor(row_factory=class_row(Job)) as cursor,
        ):
            failed = cursor.execute(query, (model, model)).fetchall()
            for job in failed:
                self._requeue(connection, job.id, job.model)
        return failed

    def cancel(self, job: str) -> None:
        """Take a job that waits out of the queue; it has failed then, and can be retried.

        Raises:
            JobRefused: there is no such job, or it does not wait in the queue (any more).

        """
        with _told(), self._postgres.transaction() as connection:
            waited = withdraw(connection, job)  # before the batch is locked, as workers do it
            _, state = _locked(connection, job)
            if not waited:
                raise JobRefused(job, "not queued", state)
            connection.execute(
                "UPDATE batches SET state = 'failed', error = %s, finished_at = now() WHERE id = %s", (CANCELLED, job)
            )
            connection.execute("SELECT pg_notify(%s, %s)", (BATCHES_CHANNEL, job))

    def _requeue(self, connection: Connection, job: str, model: str) -> None:
        connection.execute(_RETRY, (job,))
        # What a client was told is no longer so: a repeat of its request is to be told what comes of this.
        connection.execute("UPDATE idempotency_keys SET status = NULL, answer = NULL WHERE batch_id = %s", (job,))
        self._queue.defer(connection, batch_id=job, model=model)
        connection.execute("SELECT pg_notify(%s, %s)", (BATCHES_CHANNEL, job))

    def _read(self, query: LiteralString, values: tuple[object, ...]) -> list[Job]:
        with (
            _told(),
            self._postgres.transaction() as connection,
            connection.cursor(row_factory=class_row(Job)) as cursor,
        ):
            return cursor.execute(query, values).fetchall()


def _locked(connection: Connection, job: str) -> tuple[str, State]:
    """Return the model and state of a job that nobody else changes until the transaction ends."""
    low, high = _range(job)
    row = None
    if low == high:  # a whole id, not the beginning of one
        row = connection.execute("SELECT model, state FROM batches WHERE id = %s FOR UPDATE", (low,)).fetchone()
    if row is None:
        raise JobRefused(job, "unknown")
    return row[0], row[1]


def _range(prefix: str) -> tuple[uuid.UUID, uuid.UUID]:
    """Return the first and the last id that start with ``prefix``; an empty range if none can."""
    digits = prefix.lower().replace("-", "")
    if not digits or len(digits) > _DIGITS or not set(digits) <= set("0123456789abcdef"):
        return uuid.UUID(int=1), uuid.UUID(int=0)
    return uuid.UUID(digits.ljust(_DIGITS, "0")), uuid.UUID(digits.ljust(_DIGITS, "f"))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise NoSchema("the database holds no Telltale, or one of an older version") from error
