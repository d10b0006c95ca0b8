"""The training queue: procrastinate on our PostgreSQL.

Delivery is at least once. A job is deferred in the transaction that records its batch, so neither exists without the
other, and jobs of one model run one at a time in order (``lock``). Why procrastinate: docs/decisions/0003.

The queue holds what is still to be done and nothing else: a job that ended, well or for good, is gone from it.
"""

from __future__ import annotations

from procrastinate import App, SyncPsycopgConnector

from store.postgres import Connection, Postgres

QUEUE = "training"
TASK = "train"

# As procrastinate's own trigger says it, which only speaks of new jobs.
_WAKE = (
    "SELECT pg_notify('procrastinate_queue_v1#' || %s, json_build_object('type', 'job_inserted', 'job_id', %s)::text)"
)
_REQUEUE = (
    "SELECT procrastinate_retry_job_v2(id, NULL, NULL, NULL, NULL) FROM"
    " (SELECT id FROM procrastinate_jobs WHERE id = %s AND status = 'doing' FOR UPDATE) AS ours"
)


class TrainingQueue:
    """The side of the queue that puts jobs in."""

    def __init__(self, postgres: Postgres) -> None:
        connector = SyncPsycopgConnector()
        connector.open(postgres.pool)
        self._app = App(connector=connector)

    def defer(self, connection: Connection, *, batch_id: str, model: str, traceparent: str | None = None) -> None:
        """Put the training of a batch into the queue, inside the caller's transaction.

        ``traceparent`` names the span that asks for it; it goes along only where there is one, so that a trainer that
        does not know it yet takes all other jobs.
        """
        task = self._app.configure_task(TASK, queue=QUEUE, lock=model, connection=connection)
        task.defer(batch_id=batch_id, **({} if traceparent is None else {"traceparent": traceparent}))


def requeue(connection: Connection, job_id: int) -> None:
    """Let a job that some worker has be taken by another at once; does nothing for one that no worker has."""
    connection.execute(_REQUEUE, (job_id,))
    connection.execute(_WAKE, (QUEUE, job_id))


def drop(connection: Connection, job_id: int) -> None:
    """Remove a job that a worker had, with nothing left to do."""
    connection.execute("DELETE FROM procrastinate_jobs WHERE id = %s", (job_id,))


def withdraw(connection: Connection, batch_id: str) -> bool:
    """Take the job of a batch out of the queue, unless a worker has it; return whether it was there."""
    query = "DELETE FROM procrastinate_jobs WHERE args ->> 'batch_id' = %s AND status = 'todo' AND queue_name = %s"
    return connection.execute(query, (batch_id, QUEUE)).rowcount > 0


def depth(connection: Connection) -> int:
    """Return the number of training jobs that wait or run."""
    row = connection.execute(
        "SELECT count(*) FROM procrastinate_jobs WHERE queue_name = %s AND status IN ('todo', 'doing')", (QUEUE,)
    ).fetchone()
    return int(row[0]) if row else 0


def forget_worker(connection: Connection, worker_id: int) -> None:
    """Declare one worker gone."""
    connection.execute("DELETE FROM procrastinate_workers WHERE id = %s", (worker_id,))


def forget_workers(connection: Connection) -> None:
    """Declare all workers lost, so that their jobs are taken over at once; only where none can be alive."""
    connection.execute("DELETE FROM procrastinate_workers")
