"""One attempt at a batch at a time, whatever the queue believes.

The queue gives a job to another worker when the first one's heartbeats stop. That worker is usually dead; it may also
only have been held up (a suspended machine, a starved processor) and go on, and then two would forget each other's
runs. An advisory lock in PostgreSQL ends with its session, so a dead worker never holds one: :mod:`store.attempts`
tells by it who is dead, and ends the session of who is silent for too long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from store.attempts import lock_name
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
            StoreUnavailable: the session that held it was lost (also from the check); whatever else went wrong then
                is its cause.

        """
        with postgres_errors(), psycopg.connect(self._url, autocommit=True, **lock_options()) as connection:
            query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
            row = connection.execute(query, (lock_name(batch_id),)).fetchone()
            if row is None or not row[0]:
                raise AttemptRunning(f"another worker is at batch {batch_id}")
            try:
                yield lambda: _check(connection)
            except Exception:
                _check(connection)  # what goes wrong after we were overtaken is no fault of the batch
                raise


def _check(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    with postgres_errors():
        connection.execute("SELECT 1")


def lock_options() -> dict[str, Any]:
    """Return a connection's options that let the server, too, notice within seconds that our machine vanished."""
    options = connection_options()
    probes = " -c tcp_keepalives_idle=3 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=2"
    return options | {"options": options["options"] + probes}
