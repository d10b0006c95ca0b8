"""The table of predictions: what was scored is there once, day by day, and no longer than it should be."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest

from store.errors import StoreUnavailable
from store.postgres import Postgres
from store.prediction_log import PredictionTable
from store.prediction_rows import PredictionRows, RowsRefused

pytestmark = pytest.mark.integration

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


def rows(n: int = 2, *, at: datetime = NOON, **changes: Any) -> PredictionRows:
    """Return rows of three features."""
    given: dict[str, Any] = {
        "model": "default",
        "model_version": "20240101000000",
        "protocol": "score",
        "at": at.timestamp(),
        "decision": np.linspace(-0.1, 0.1, n),
        "X": np.arange(3.0 * n).reshape(n, 3),
        "request_ids": "r-1",
        "vehicle_ids": None,
    }
    return PredictionRows(**(given | changes))


@pytest.fixture
def postgres(database_url: str) -> Iterator[Postgres]:
    """Connections to a fresh database."""
    with opened(database_url) as postgres:
        yield postgres


@contextmanager
def opened(url: str) -> Iterator[Postgres]:
    """Yield connections that soon give up."""
    postgres = Postgres(url, max_connections=2, wait_seconds=2.0)
    postgres.open()
    try:
        yield postgres
    finally:
        postgres.close()


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the test's own."""
    with psycopg.connect(database_url, autocommit=True, options="-c search_path=telltale") as connection:
        yield connection


def count(connection: psycopg.Connection[Any]) -> int:
    """Return how many predictions there are."""
    return int(connection.execute("SELECT count(*) FROM predictions").fetchall()[0][0])


def days(connection: psycopg.Connection[Any]) -> list[str]:
    """Return the names of the partitions."""
    found = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'predictions'::regclass ORDER BY 1"
    ).fetchall()
    return [name for (name,) in found]


def test_every_column_is_stored_as_it_was_given(postgres: Postgres, connection: psycopg.Connection[Any]) -> None:
    """Whatever its length, its alphabet and its size."""
    ids = ["r-1", "", "é" * 300, "a\0b", "\ud800"]
    times = np.array([NOON.timestamp() + 0.123456 + second for second in range(5)])
    X = np.array([[0.0, -0.0], [1e300, -5e-324], [np.pi, -np.e], [2.0**53, 1 / 3], [1.0, -1.0]])
    decision = np.array([-0.25, -5e-324, 0.0, 0.1, 1 / 3])
    vehicles = ["v-1", None, "Ω", "x" * 256, ""]
    given = PredictionRows("default", "20240101000000", "v2-grpc", times, decision, X, ids, vehicles)
    PredictionTable(postgres).append([given])
    stored = connection.execute(
        "SELECT ts, request_id, protocol, model, model_version, vehicle_id, features, anomaly_score, is_anomaly"
        " FROM predictions ORDER BY ts"
    ).fetchall()
    kept = ["r-1", "", "é" * 256, "a?b", "?"]
    assert stored == [
        (
            NOON + timedelta(seconds=row, microseconds=123456),
            kept[row],
            "v2-grpc",
            "default",
            "20240101000000",
            vehicles[row],
            X[row].tolist(),
            decision[row],
            decision[row] < 0,
        )
        for row in range(5)
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_rows_of_any_number_type_are_stored(
    postgres: Postgres, connection: psycopg.Connection[Any], dtype: type[Any]
) -> None:
    """The protocol takes tensors of many types, and the rows are kept as they came."""
    X = np.array([[1, 2, 250], [3, 4, 7]], dtype)
    PredictionTable(postgres).append([rows(X=X, vehicle_ids=["a", "b"])])
    stored = connection.execute("SELECT features FROM predictions ORDER BY vehicle_id").fetchall()
    assert stored == [([1.0, 2.0, 250.0],), ([3.0, 4.0, 7.0],)]


def test_rows_that_are_a_view_of_something_larger_are_stored(
    postgres: Postgres, connection: psycopg.Connection[Any]
) -> None:
    """Neither contiguous nor writable: a column's slice of a request's body."""
    whole = np.arange(24.0).reshape(4, 6)
    whole.setflags(write=False)
    PredictionTable(postgres).append([rows(X=whole[::2, 1:4], vehicle_ids=["a", "b"])])
    stored = connection.execute("SELECT features FROM predictions ORDER BY vehicle_id").fetchall()
    assert stored == [([1.0, 2.0, 3.0],), ([13.0, 14.0, 15.0],)]


def test_groups_of_different_widths_are_written_together(
    postgres: Postgres, connection: psycopg.Connection[Any]
) -> None:
    """One COPY takes what different models scored."""
    wide = rows(3, model="wide", X=np.ones((3, 40)))
    PredictionTable(postgres).append([rows(2), wide])
    found = connection.execute(
        "SELECT model, count(*), max(cardinality(features)) FROM predictions GROUP BY 1 ORDER BY 1"
    )
    assert found.fetchall() == [("default", 2, 3), ("wide", 3, 40)]


def test_each_day_in_utc_has_its_partition(postgres: Postgres, connection: psycopg.Connection[Any]) -> None:
    """Made when the first row of the day comes, if not before."""
    midnight = datetime(2024, 3, 1, tzinfo=UTC)
    around = np.array([(midnight + timedelta(seconds=seconds)).timestamp() for seconds in (-1, 0, 86_399, 86_400)])
    PredictionTable(postgres).append([PredictionRows("m", "v", "score", around, around * 0, around[:, None], "r")])
    assert days(connection) == ["predictions_20240229", "predictions_20240301", "predictions_20240302"]
    assert [connection.execute(f"SELECT count(*) FROM {day}").fetchall()[0][0] for day in days(connection)] == [1, 2, 1]


def test_partitions_are_made_ahead_by_any_number_of_predictors(
    postgres: Postgres, connection: psycopg.Connection[Any]
) -> None:
    """At the same moment, too."""
    failures: list[BaseException] = []

    def prepare() -> None:
        try:
            PredictionTable(postgres).prepare(NOON)
        except BaseException as failure:  # noqa: BLE001 - handed to the test
            failures.append(failure)

    threads = [threading.Thread(target=prepare) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert days(connection) == ["predictions_20240301", "predictions_20240302", "predictions_20240303"]


def test_retention_drops_whole_days_and_keeps_the_others(
    postgres: Postgres, connection: psycopg.Connection[Any]
) -> None:
    """Seven days are kept beside the present one."""
    table = PredictionTable(postgres, retention_days=7)
    table.append([rows(1, at=NOON - timedelta(days=ago)) for ago in (0, 6, 7, 8, 400)])
    assert table.retain(NOON) == [date(2023, 1, 26), date(2024, 2, 22)]
    assert days(connection) == ["predictions_20240223", "predictions_20240224", "predictions_20240301"]
    assert count(connection) == 3


def test_a_day_that_was_dropped_is_made_again(postgres: Postgres, connection: psycopg.Connection[Any]) -> None:
    """A late row is kept until the next time, never refused."""
    table = PredictionTable(postgres, retention_days=7)
    late = rows(1, at=NOON - timedelta(days=20))
    table.append([late])
    table.retain(NOON)
    table.append([late])
    assert count(connection) == 1


def test_a_partition_that_somebody_else_dropped_is_made_again(
    postgres: Postgres, connection: psycopg.Connection[Any]
) -> None:
    """At the second try, which the writer makes of itself."""
    table = PredictionTable(postgres)
    table.append([rows()])
    connection.execute("DROP TABLE predictions_20240301")
    with pytest.raises(StoreUnavailable, match="made again"):
        table.append([rows()])
    table.append([rows()])
    assert count(connection) == 2


def test_who_reads_the_log_holds_up_neither_rows_nor_new_days(
    database_url: str, postgres: Postgres, connection: psycopg.Connection[Any]
) -> None:
    """An analyst's transaction may be open for hours."""
    table = PredictionTable(postgres)
    table.append([rows()])
    with psycopg.connect(database_url, options="-c search_path=telltale") as reader:
        reader.execute("SELECT * FROM predictions")
        table.append([rows(), rows(at=NOON + timedelta(days=1))])
        table.prepare(NOON + timedelta(days=5))
    assert count(connection) == 6


def test_a_day_that_is_being_read_is_dropped_another_time(
    database_url: str, postgres: Postgres, connection: psycopg.Connection[Any]
) -> None:
    """Retention waits for two seconds at most, since writers would wait behind it."""
    table = PredictionTable(postgres, retention_days=7)
    table.append([rows(at=NOON - timedelta(days=30))])
    with psycopg.connect(database_url, options="-c search_path=telltale") as reader:
        reader.execute("SELECT * FROM predictions")
        assert table.retain(NOON) == []
    assert table.retain(NOON) == [date(2024, 1, 31)]
    assert days(connection) == []


def test_a_connection_lost_before_the_commit_leaves_nothing_and_the_next_try_writes_all(
    postgres: Postgres, connection: psycopg.Connection[Any]
) -> None:
    """The trigger fires at the commit, after the rows were sent."""
    table = PredictionTable(postgres)
    table.prepare(NOON)
    connection.execute(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
    )
    connection.execute(
        "CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON predictions DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION cut()"
    )
    batch = [rows(3)]
    with pytest.raises(StoreUnavailable):
        table.append(batch)
    connection.execute("DROP TRIGGER cut ON predictions")
    assert count(connection) == 0
    table.append(batch)
    assert count(connection) == 3


def test_a_commit_whose_confirmation_got_lost_is_not_repeated(
    database_url: str, connection: psycopg.Connection[Any]
) -> None:
    """PostgreSQL is asked what became of the transaction."""
    with proxy(database_url) as (url, lose_next_commit), opened(url) as postgres:
        table = PredictionTable(postgres)
        table.append([rows(1)])
        lose_next_commit.set()
        batch = [rows(3)]
        with pytest.raises(StoreUnavailable):
            table.append(batch)
        assert not lose_next_commit.is_set()
        table.append(batch)
        assert count(connection) == 4
        table.append([rows(1)])
        assert count(connection) == 5


def test_rows_that_postgresql_will_never_take_are_told_apart(
    postgres: Postgres, connection: psycopg.Connection[Any]
) -> None:
    """Trying them again would hold up all others."""
    connection.execute("ALTER TABLE predictions ALTER COLUMN model TYPE varchar(3)")
    table = PredictionTable(postgres)
    with pytest.raises(RowsRefused):
        table.append([rows()])
    table.append([rows(model="m")])
    assert count(connection) == 2


def test_a_database_without_the_table_may_still_get_it(postgres: Postgres, connection: psycopg.Connection[Any]) -> None:
    """The migration may come later: rows wait for it."""
    connection.execute("ALTER TABLE predictions RENAME TO elsewhere")
    table = PredictionTable(postgres)
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        table.append([rows()])
    connection.execute("ALTER TABLE elsewhere RENAME TO predictions")
    table.append([rows()])
    assert count(connection) == 2


@contextmanager
def proxy(url: str) -> Iterator[tuple[str, threading.Event]]:
    """Yield the URL of a proxy to PostgreSQL, and an event that makes it cut off the answer to the next COMMIT."""
    there = urlsplit(url)
    lose = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = (str(there.hostname), int(there.port or 0))
        accepting = threading.Thread(target=_accept, args=(listening, address, lose), daemon=True)
        accepting.start()
        place = f"{there.username}:{there.password}@127.0.0.1:{listening.getsockname()[1]}"
        yield f"postgresql://{place}{there.path}?sslmode=disable&gssencmode=disable", lose
        listening.shutdown(socket.SHUT_RDWR)
    accepting.join()


def _accept(listening: socket.socket, address: tuple[str, int], lose: threading.Event) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        server = socket.create_connection(address)
        cut = threading.Event()
        threading.Thread(target=_upwards, args=(client, server, lose, cut), daemon=True).start()
        threading.Thread(target=_downwards, args=(client, server, lose, cut), daemon=True).start()


def _upwards(client: socket.socket, server: socket.socket, lose: threading.Event, cut: threading.Event) -> None:
    while data := _received(client):
        if lose.is_set() and b"COMMIT" in data:
            cut.set()
        with suppress(OSError):
            server.sendall(data)
    _end(server)


def _downwards(client: socket.socket, server: socket.socket, lose: threading.Event, cut: threading.Event) -> None:
    while data := _received(server):
        if cut.is_set():  # the server has committed, or it would not answer
            lose.clear()
            break
        with suppress(OSError):
            client.sendall(data)
    for end in (client, server):
        _end(end)


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(65536)
    except OSError:
        return b""


def _end(end: socket.socket) -> None:
    """End a connection in a way that wakes whoever reads from it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
