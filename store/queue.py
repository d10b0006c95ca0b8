"""The training queue: procrastinate on our PostgreSQL.

Delivery is at least once. A job is deferred in the transaction that records its batch, so neither exists without the
other, and jobs of one model run one at a time in order (``lock``). Why procrastinate: docs/decisions/0003.
"""

from __future__ import annotations

from procrastinate import App, SyncPsycopgConnector

from store.postgres import Connection, Postgres

QUEUE = "training"
TASK = "train"


class TrainingQueue:
    """The side of the queue that puts jobs in."""

    def __init__(self, postgres: Postgres) -> None:
        connector = SyncPsycopgConnector()
        connector.open(postgres.pool)
        self._app = App(connector=connector)

    def defer(self, connection: Connection, *, batch_id: str, model: str) -> None:
        """Put the training of a batch into the queue, inside the caller's transaction."""
        task = self._app.configure_task(TASK, queue=QUEUE, lock=model, connection=connection)
        task.defer(batch_id=batch_id)


def depth(connection: Connection) -> int:
    """Return the number of training jobs that wait or run."""
    row = connection.execute(
        "SELECT count(*) FROM procrastinate_jobs WHERE queue_name = %s AND status IN ('todo', 'doing')", (QUEUE,)
    ).fetchone()
    return int(row[0]) if row else 0


def forget_workers(connection: Connection) -> None:
    """Declare all workers lost, so that their jobs are taken over at once; only where none can be alive."""
    connection.execute("DELETE FROM procrastinate_workers")
