"""One attempt at a batch at a time, whatever the queue believes.

The queue gives a job to another worker when the first one's heartbeats stop. That worker is usually dead; it may also
only have been held up (a suspended machine, a starved processor) and go on, and then two would forget each other's
runs. An advisory lock in PostgreSQL ends with its session, so a dead worker never holds one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from store.postgres import connection_options, postgres_errors
from trainer.errors import AttemptRunning

Check = Callable[[], None]


class AttemptLock:
    """Locks batches in the database at ``url``."""

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def held(self, batch_id: str) -> Iterator[Check]:
        """Hold a batch's lock; yield a check to call before what only one attempt may do.

        Raises:
            AttemptRunning: another session holds it.
            StoreUnavailable: the session that held it was lost (also from the check).

        """
        with postgres_errors(), psycopg.connect(self._url, autocommit=True, **connection_options()) as connection:
            query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
            row = connection.execute(query, (f"train {batch_id}",)).fetchone()
            if row is None or not row[0]:
                raise AttemptRunning(f"another worker is at batch {batch_id}")
            yield lambda: _check(connection)


def _check(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    with postgres_errors():
        connection.execute("SELECT 1")
