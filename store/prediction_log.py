"""The prediction log: ``telltale.predictions``, one partition a day, so that forgetting is dropping a table.

Rows come by COPY, whole batches or nothing, and each batch once: when the connection is lost while a commit is under
way, the next call asks PostgreSQL what became of that transaction before it writes anything again.

One thread at a time may use it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import numpy as np
import psycopg

from store.errors import StoreUnavailable
from store.postgres import SCHEMA, Connection, Postgres, postgres_errors
from store.prediction_rows import COLUMNS, HEADER, TRAILER, PredictionRows, RowsRefused, encoded

_log = logging.getLogger(__name__)

# Any number, the same for all: predictors make and drop partitions one after the other.
_LOCK = 7_355_611
_DAYS_AHEAD = 2
# Dropping waits for whoever reads the table, and all writers wait behind it: rather another time than long.
_DROP_PATIENCE = "2s"
_NAME = re.compile(r"predictions_(\d{8})")


class PredictionTable:
    """The table of scored records.

    Args:
        postgres: connections; their role must own the table, since only an owner makes and drops partitions.
        retention_days: how many days, before the present one, are kept.

    """

    def __init__(self, postgres: Postgres, *, retention_days: int = 30) -> None:
        self._postgres = postgres
        self._retention = timedelta(days=retention_days)
        self._days: set[date] = set()
        self._unconfirmed: str | None = None

    def append(self, groups: Sequence[PredictionRows]) -> None:
        """Write all rows of ``groups``, or none.

        Raises:
            StoreUnavailable: they could not be written, or nobody knows. The next call must be with the same groups,
                and writes them if they were not.
            RowsRefused: they cannot be written.

        """
        with self._connection() as connection:
            if self._was_committed(connection):
                return
            self._make_partitions(connection, _days_of(groups))
            with connection.transaction():
                self._copy(connection, groups)
                self._unconfirmed = _transaction_id(connection)
            self._unconfirmed = None

    def prepare(self, now: datetime) -> None:
        """Make the partitions of today and the next days; StoreUnavailable if that cannot be done now."""
        today = now.astimezone(UTC).date()
        with self._connection() as connection:
            self._make_partitions(connection, (today + timedelta(days=ahead) for ahead in range(_DAYS_AHEAD + 1)))

    def retain(self, now: datetime) -> list[date]:
        """Drop the days that are out of retention; returns them.

        One that somebody reads just now is left for the next time.
        """
        oldest = now.astimezone(UTC).date() - self._retention
        with self._connection() as connection:
            with connection.transaction():
                old = sorted(day for day in _partitions(connection) if day < oldest)
            return [day for day in old if self._drop(connection, day)]

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Yield a connection outside of any transaction; its errors become the store's."""
        with postgres_errors(), self._postgres.pool.connection() as connection:
            try:
                yield connection
            except psycopg.DataError as error:
                raise RowsRefused(f"PostgreSQL refuses predictions: {error}") from error
            except psycopg.errors.CheckViolation as error:
                self._days.clear()  # somebody dropped a partition that we knew
                raise StoreUnavailable("a partition of the prediction log is gone: it is made again") from error
            except psycopg.ProgrammingError as error:
                raise StoreUnavailable(f"the prediction log cannot be used: {error}", retry_after=30) from error

    def _copy(self, connection: Connection, groups: Sequence[PredictionRows]) -> None:
        with connection.cursor().copy(f"COPY predictions ({COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(HEADER)
            for rows in groups:
                copy.write(encoded(rows))
            copy.write(TRAILER)

    def _was_committed(self, connection: Connection) -> bool:
        """Tell whether the rows of the last call are there, although its commit was never confirmed."""
        if self._unconfirmed is None:
            return False
        try:
            with connection.transaction():
                row = connection.execute("SELECT pg_xact_status(%s::xid8)", (self._unconfirmed,)).fetchone()
        except psycopg.errors.InvalidParameterValue:
            row = None  # a number that the server has not reached: it crashed, and the transaction with it
        if row is not None and row[0] == "in progress":
            raise StoreUnavailable("an earlier write to the prediction log is still being committed")
        self._unconfirmed = None
        return row is not None and row[0] == "committed"

    def _make_partitions(self, connection: Connection, days: Iterable[date]) -> None:
        for day in days:
            if day not in self._days:
                with connection.transaction():
                    _make_partition(connection, day)
                self._days.add(day)

    def _drop(self, connection: Connection, day: date) -> bool:
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                connection.execute(f"SET LOCAL lock_timeout = '{_DROP_PATIENCE}'")
                connection.execute(f"DROP TABLE IF EXISTS {_partition(day)}")
        except psycopg.errors.LockNotAvailable:
            _log.info("the predictions of %s are out of retention, and being read: they are dropped later", day)
            return False
        self._days.discard(day)
        return True


def _make_partition(connection: Connection, day: date) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    name = _partition(day)
    if connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.{name}",)).fetchone() != (None,):
        return
    # Made apart and attached: CREATE TABLE ... PARTITION OF would wait for everybody who reads the log, and everybody
    # who writes would wait behind it.
    connection.execute(f"CREATE TABLE {name} (LIKE predictions INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    connection.execute(
        f"ALTER TABLE predictions ATTACH PARTITION {name}"
        f" FOR VALUES FROM ('{day} 00:00:00+00') TO ('{day + timedelta(days=1)} 00:00:00+00')"
    )


def _partitions(connection: Connection) -> list[date]:
    """Return the days that have a partition."""
    names = connection.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        f" WHERE inhparent = '{SCHEMA}.predictions'::regclass"
    ).fetchall()
    matches = (_NAME.fullmatch(name) for (name,) in names)
    return [datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC).date() for match in matches if match]


def _partition(day: date) -> str:
    return f"predictions_{day:%Y%m%d}"


def _transaction_id(connection: Connection) -> str:
    row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
    return str(row[0]) if row else ""


def _days_of(groups: Iterable[PredictionRows]) -> set[date]:
    """Return the days, in UTC, on which the rows were scored."""
    days: set[int] = set()
    for rows in groups:
        days.update(np.unique(np.asarray(rows.at) // 86_400).astype(int).tolist())
    return {date(1970, 1, 1) + timedelta(days=number) for number in days}
