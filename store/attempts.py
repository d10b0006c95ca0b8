"""What became of the attempts at each batch, kept where all workers see it, so that a poisonous batch comes to an end.

Of three ways in which an attempt can end without a version only two are held against the batch: a fault of the
training, and the loss of the worker's process. The third, a store that is away, never is. Each method is one
transaction, in which the batch and its job in the queue change together. A batch that has failed stays as it is, its
telemetry included, until a person lets it be trained again (:mod:`store.jobs`).

An attempt holds an advisory lock on its batch. PostgreSQL lets go of it when the session ends, however that came to
be, so the lock tells a worker that died from one that is only late with its signs of life.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

from store.ingest_log import BATCHES_CHANNEL
from store.postgres import Connection, Postgres
from store.queue import QUEUE, drop, forget_worker, requeue

_BEGIN: LiteralString = (
    "UPDATE batches SET state = 'training', attempts = attempts + 1, worker = %s, started_at = now()"
    " WHERE id = %s AND state IN ('queued', 'training')"
)
# One pattern for faults and losses: count, and fail the batch once there are as many as it may have.
_FAULT: LiteralString = (
    "UPDATE batches SET faults = faults + 1, setback = %(reason)s,"
    " state = CASE WHEN faults + 1 >= %(most)s THEN 'failed' ELSE 'queued' END,"
    " error = CASE WHEN faults + 1 >= %(most)s THEN %(reason)s END,"
    " finished_at = CASE WHEN faults + 1 >= %(most)s THEN now() END"
    " WHERE id = %(batch)s AND state IN ('queued', 'training') RETURNING faults, state"
)
_LOSS: LiteralString = (
    "UPDATE batches SET losses = losses + 1, setback = format('worker %%s was lost', coalesce(worker, '?')),"
    " state = CASE WHEN losses + 1 >= %(most)s THEN 'failed' ELSE 'queued' END,"
    " error = CASE WHEN losses + 1 >= %(most)s THEN format('training it ended the worker process %%s times, the last"
    " being %%s; it may need more memory than there is', losses + 1, worker) END,"
    " finished_at = CASE WHEN losses + 1 >= %(most)s THEN now() END"
    " WHERE id = %(batch)s AND state IN ('queued', 'training') RETURNING worker, losses, state"
)
# A worker whose row is gone has left, or was silent for so long that another removed it: both count as for ever.
_SILENT: LiteralString = (
    "SELECT job.id, job.args ->> 'batch_id',"
    " coalesce(extract(epoch FROM now() - worker.last_heartbeat)::float8, 'infinity')"
    " FROM procrastinate_jobs job LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id"
    " WHERE job.queue_name = %s AND job.status = 'doing' AND job.id <> %s"
    " AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => %s))"
    " FOR UPDATE OF job SKIP LOCKED"
)
_HOLDERS: LiteralString = (
    "SELECT pg_terminate_backend(pid, 1000) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32 | objid::bigint) = hashtextextended(%s, 0)"
)


@dataclass(frozen=True)
class Silence:
    """When a worker that gives no sign of life is given up, in seconds.

    Args:
        lost: after this its job is taken over, if its session is gone too.
        hung: after this its session is ended, so that its job can be taken over even so.

    """

    lost: float
    hung: float


@dataclass(frozen=True)
class Fault:
    """How many attempts at a batch have failed, and whether it is given up for that."""

    count: int
    given_up: bool


@dataclass(frozen=True)
class Lost:
    """A batch whose worker was lost: who that was, how many were lost at it, and whether it is given up."""

    batch_id: str
    worker: str | None
    losses: int
    given_up: bool


def lock_name(batch_id: str) -> str:
    """Return what an attempt at a batch locks, hashed by ``hashtextextended(…, 0)``."""
    return f"train {batch_id}"


class Attempts:
    """Keeps account for one worker.

    Args:
        postgres: the database.
        worker: what people will know this worker by.

    """

    def __init__(self, postgres: Postgres, worker: str) -> None:
        self._postgres = postgres
        self._worker = worker

    def begin(self, batch_id: str) -> bool:
        """Record that this worker begins; False if nothing is to be done: it is trained, has failed, or is gone."""
        with self._postgres.transaction() as connection:
            began = connection.execute(_BEGIN, (self._worker, batch_id)).rowcount > 0
            _tell(connection, batch_id)
        return began

    def wait(self, batch_id: str, reason: str) -> None:
        """Record what the attempt under way waits for."""
        with self._postgres.transaction() as connection:
            connection.execute("UPDATE batches SET setback = %s WHERE id = %s", (reason, batch_id))

    def fault(self, batch_id: str, reason: str, *, most: int) -> Fault | None:
        """Record that the attempt failed; with ``most`` faults the batch has failed. None if it was settled before."""
        with self._postgres.transaction() as connection:
            values = {"reason": reason, "most": most, "batch": batch_id}
            row = connection.execute(_FAULT, values).fetchone()
            _tell(connection, batch_id)
        return None if row is None else Fault(int(row[0]), given_up=row[1] == "failed")

    def put_back(self, batch_id: str, reason: str) -> None:
        """Record that the attempt ended before it could fail or succeed."""
        with self._postgres.transaction() as connection:
            _put_back(connection, batch_id, reason)

    def hand_back(self, job_id: int, batch_id: str, reason: str, *, worker_id: int) -> None:
        """Leave an attempt that this process cannot end, so that another worker begins at once.

        Whoever calls this ends the process next: its attempt has lost its lock, and the queue's job is not its own
        any more.
        """
        with self._postgres.transaction() as connection:
            _end_session(connection, batch_id)
            _put_back(connection, batch_id, reason)
            requeue(connection, job_id)
            forget_worker(connection, worker_id)

    def take_over(self, silence: Silence, *, most: int, ours: int) -> list[Lost]:
        """Give lost workers' jobs back to the queue; a batch that lost ``most`` workers has failed.

        Args:
            silence: when a worker is lost.
            most: workers that a batch may end.
            ours: the id of the job that this worker does, which is well; 0 for none.

        """
        with self._postgres.transaction() as connection:
            silent = connection.execute(_SILENT, (QUEUE, ours, silence.lost)).fetchall()
            found = [_take(connection, *row, silence=silence, most=most) for row in silent]
        return [lost for lost in found if lost is not None]


def _take(
    connection: Connection, job_id: int, batch_id: str, silent_for: float, *, silence: Silence, most: int
) -> Lost | None:
    """Give one job back, unless its attempt goes on; None if nothing was lost by it."""
    if silent_for >= silence.hung:
        _end_session(connection, batch_id)
    if not _is_free(connection, batch_id):
        return None
    row = connection.execute(_LOSS, {"most": most, "batch": batch_id}).fetchone()
    if row is None:  # it was trained, or has failed, before its worker was lost
        drop(connection, job_id)
        return None
    lost = Lost(batch_id, row[0], int(row[1]), given_up=row[2] == "failed")
    (drop if lost.given_up else requeue)(connection, job_id)
    _tell(connection, batch_id)
    return lost


def _is_free(connection: Connection, batch_id: str) -> bool:
    """Tell whether no attempt at a batch is under way; none can begin until the transaction ends."""
    query = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
    row = connection.execute(query, (lock_name(batch_id),)).fetchone()
    return row is not None and bool(row[0])


def _end_session(connection: Connection, batch_id: str) -> None:
    """End the session that holds a batch's lock: its attempt finds that out before it does what only one may do."""
    connection.execute(_HOLDERS, (lock_name(batch_id),))


def _put_back(connection: Connection, batch_id: str, reason: str) -> None:
    connection.execute(
        "UPDATE batches SET state = 'queued', setback = %s WHERE id = %s AND state = 'training'", (reason, batch_id)
    )
    _tell(connection, batch_id)


def _tell(connection: Connection, batch_id: str) -> None:
    connection.execute("SELECT pg_notify(%s, %s)", (BATCHES_CHANNEL, batch_id))
