"""The connection pool to PostgreSQL, and the schema that everything of ours lives in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from store.errors import StoreUnavailable

SCHEMA = "telltale"
Connection = psycopg.Connection[TupleRow]


class Postgres:
    """A pool of connections whose search path is our schema.

    Args:
        url: ``postgresql://user:password@host:port/database``.
        max_connections: the pool's size.
        wait_seconds: how long a caller waits for a connection before StoreUnavailable.

    """

    def __init__(self, url: str, *, max_connections: int = 8, wait_seconds: float = 3.0) -> None:
        self.url = url
        self.pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            min_size=1,
            max_size=max_connections,
            timeout=wait_seconds,
            # A connection that the server closed is replaced before it is handed out, so a restart of PostgreSQL
            # costs no request.
            check=ConnectionPool.check_connection,
            reconnect_timeout=5.0,
            kwargs=connection_options(),
            open=False,
        )

    def open(self) -> None:
        """Start the pool; it fills in the background, so this does not fail when the server is away."""
        self.pool.open(wait=False)

    def close(self) -> None:
        """Close all connections."""
        self.pool.close(timeout=2.0)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection inside a transaction that commits at the end, or StoreUnavailable."""
        with postgres_errors(), self.pool.connection() as connection:
            yield connection


def connection_options() -> dict[str, Any]:
    """Return what every connection of ours sets: the schema, and time-outs so that a hung server is noticed."""
    return {
        "options": f"-c search_path={SCHEMA} -c statement_timeout=20000 -c idle_in_transaction_session_timeout=60000",
        "connect_timeout": 3,
        # A server whose machine vanished sends nothing that would end a connection: notice its silence.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
        "application_name": "telltale",
    }


@contextmanager
def postgres_errors() -> Iterator[None]:
    """Turn psycopg's errors of a gone, stopping or full server into StoreUnavailable."""
    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise StoreUnavailable("PostgreSQL's disk is full: free some space", retry_after=30) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
        raise StoreUnavailable("PostgreSQL does not answer") from error
