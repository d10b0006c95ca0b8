"""The writer between the queue and PostgreSQL: everything once, nothing in the way, and whatever is lost is counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from predictor.observability.metrics import Metrics
from predictor.observability.prediction_log import PredictionLog, Table
from predictor.observability.recording import Recording
from standalone.embedded_postgres import EmbeddedPostgres
from store.errors import StoreUnavailable
from store.migrate import migrate
from store.postgres import Postgres
from store.prediction_log import PredictionTable
from store.prediction_rows import PredictionRows
from tests.predictor.observability.exposed import value
from tests.predictor.observability.loaded import batch, version

pytestmark = pytest.mark.integration

Until = Callable[[Callable[[], bool]], None]


@pytest.fixture
def postgres(database_url: str) -> Iterator[Postgres]:
    """Connections to a fresh database."""
    postgres = Postgres(database_url, max_connections=2, wait_seconds=3.0)
    postgres.open()
    yield postgres
    postgres.close()


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the test's own."""
    with psycopg.connect(database_url, autocommit=True, options="-c search_path=telltale") as connection:
        yield connection


@contextmanager
def writing(table: Table, **changes: Any) -> Iterator[PredictionLog]:
    """Run a log's writer while the block runs."""
    log = PredictionLog(table, **({"interval": 0.01} | changes))
    log.start()
    try:
        yield log
    finally:
        log.stop()


def ids(connection: psycopg.Connection[Any]) -> list[str]:
    """Return the request ids of what was written, sorted."""
    return [name for (name,) in connection.execute("SELECT request_id FROM predictions ORDER BY 1").fetchall()]


def count(connection: psycopg.Connection[Any]) -> int:
    """Return how many predictions there are."""
    return int(connection.execute("SELECT count(*) FROM predictions").fetchall()[0][0])


def note(recording: Recording, number: int) -> None:
    """Note one lone record, of which everything is told by its number."""
    recording.one(
        version(),
        -0.5 if number % 2 else 0.5,
        [float(number), 0.25, -1.0],
        seconds=0.001,
        request_id=f"r-{number:06d}",
        protocol="score",
        vehicle_id=f"v-{number}",
    )


def test_every_scored_record_is_written_once(
    postgres: Postgres, connection: psycopg.Connection[Any], until: Until
) -> None:
    """Lone ones from the loop while three threads bring batches."""
    with writing(PredictionTable(postgres)) as log:
        recording = Recording(None, log)

        def batches(thread: int) -> None:
            for number in range(10):
                recording.many(batch(211, request_id=f"t-{thread}-{number}"))

        threads = [threading.Thread(target=batches, args=(thread,)) for thread in range(3)]
        for thread in threads:
            thread.start()
        for number in range(3000):
            note(recording, number)
        for thread in threads:
            thread.join()
        until(lambda: log.written == 3000 + 30 * 211)
    rows = connection.execute(
        "SELECT request_id, vehicle_id, features, anomaly_score, is_anomaly FROM predictions"
        " WHERE protocol = 'score' ORDER BY 1"
    ).fetchall()
    assert rows == [
        (f"r-{n:06d}", f"v-{n}", [float(n), 0.25, -1.0], -0.5 if n % 2 else 0.5, bool(n % 2)) for n in range(3000)
    ]
    by_request = connection.execute(
        "SELECT count(*), count(DISTINCT features) FROM predictions WHERE protocol <> 'score' GROUP BY request_id"
    ).fetchall()
    assert by_request == [(211, 211)] * 30
    assert log.dropped == {"full": 0, "refused": 0, "stopped": 0}


def test_a_large_batch_is_written_whole(postgres: Postgres, connection: psycopg.Connection[Any], until: Until) -> None:
    """100,000 rows, the most that a request may hold."""
    scored = batch(100_000)
    with writing(PredictionTable(postgres)) as log:
        log.many(scored)
        until(lambda: log.written == 100_000)
    found = connection.execute("SELECT count(*), sum(features[1]), sum(anomaly_score) FROM predictions").fetchall()
    assert found[0][:2] == (100_000, float(scored.X[:, 0].sum()))
    assert found[0][2] == pytest.approx(scored.decision.sum(), abs=1e-9)


def test_noting_returns_at_once_while_the_table_is_locked(
    database_url: str, postgres: Postgres, connection: psycopg.Connection[Any], until: Until
) -> None:
    """The writer waits for the lock, the answers do not; all is written when the lock is gone."""
    table = PredictionTable(postgres)
    table.prepare(datetime.now(UTC))
    with writing(table) as log:
        recording = Recording(None, log)
        with psycopg.connect(database_url, options="-c search_path=telltale") as locking:
            locking.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            note(recording, 0)
            until(lambda: _waits_for_a_lock(connection))
            started = time.perf_counter()
            for number in range(1, 5000):
                note(recording, number)
            recording.many(batch(5000))
            took = time.perf_counter() - started
            assert _waits_for_a_lock(connection)
            assert log.written == 0
        until(lambda: log.written == 10_000)
    assert took < 0.5
    assert count(connection) == 10_000


def test_what_a_full_queue_drops_is_counted_and_the_rest_is_written(
    database_url: str, postgres: Postgres, connection: psycopg.Connection[Any], until: Until
) -> None:
    """The oldest are kept."""
    table = PredictionTable(postgres)
    table.prepare(datetime.now(UTC))
    metrics = Metrics()
    with writing(table, capacity=100) as log:
        log.expose(metrics)
        recording = Recording(None, log)
        with psycopg.connect(database_url, options="-c search_path=telltale") as locking:
            locking.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            for number in range(250):
                note(recording, number)
            recording.many(batch(50))
            assert value(metrics, "telltale_prediction_log_dropped_total", reason="full") == 200
            assert value(metrics, "telltale_prediction_log_queue_length") == 100
        until(lambda: log.written == 100)
    assert ids(connection) == [f"r-{number:06d}" for number in range(100)]
    assert value(metrics, "telltale_prediction_log_written_total") == 100
    assert value(metrics, "telltale_prediction_log_queue_length") == 0


def test_connections_that_are_cut_lose_and_double_nothing(
    postgres: Postgres, connection: psycopg.Connection[Any], until: Until
) -> None:
    """With records coming all the time."""
    with writing(PredictionTable(postgres)) as log:
        recording = Recording(None, log)
        for number in range(1500):
            note(recording, number)
            if number % 500 == 100:
                before = log.written
                until(lambda before=before: log.written > before)  # type: ignore[misc]
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        until(lambda: log.queued == 0)
    assert (sum(log.dropped.values()), log.written) == (0, 1500)
    assert ids(connection) == [f"r-{number:06d}" for number in range(1500)]


def test_a_restart_of_postgresql_loses_only_what_is_counted(data_folder: Path, until: Until) -> None:
    """The queue fills while it is away; what found room is written afterwards."""
    server = EmbeddedPostgres(data_folder, data_folder / "postgres.log")
    server.start()
    migrate(server.url)
    postgres = Postgres(server.url, wait_seconds=1.0)
    postgres.open()
    with writing(PredictionTable(postgres), capacity=500) as log:
        recording = Recording(None, log)
        for number in range(400):
            note(recording, number)
        until(lambda: log.written == 400)
        server.stop()
        for number in range(400, 1400):
            note(recording, number)
        server.start()
        until(lambda: log.queued == 0)
    postgres.close()
    with psycopg.connect(server.url, autocommit=True, options="-c search_path=telltale") as connection:
        kept = ids(connection)
    server.stop()
    assert log.dropped == {"full": 500, "refused": 0, "stopped": 0}
    assert kept == [f"r-{number:06d}" for number in range(900)]


def test_while_postgresql_is_away_the_queue_holds_what_it_can(
    postgres: Postgres, connection: psycopg.Connection[Any], until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once that it is away, and once that it is back."""
    table = Reluctant(PredictionTable(postgres))
    with caplog.at_level(logging.INFO, "predictor.observability"), writing(table, capacity=10) as log:
        recording = Recording(None, log)
        for number in range(15):
            note(recording, number)
        until(lambda: table.refusals >= 3)
        assert log.written == 0
        table.is_away = False
        until(lambda: log.written == 10)
    assert ids(connection) == [f"r-{number:06d}" for number in range(10)]
    assert log.dropped["full"] == 5
    messages = [record.getMessage() for record in caplog.records]
    assert len([message for message in messages if "waits, and drops" in message]) == 1
    assert [message for message in messages if "written again" in message] == [
        "the prediction log is written again; 5 records were dropped so far"
    ]


def test_rows_that_cannot_be_written_do_not_hold_up_others(
    postgres: Postgres, connection: psycopg.Connection[Any], until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """They are dropped and counted, and the log says why."""
    connection.execute("ALTER TABLE predictions ALTER COLUMN request_id TYPE varchar(8)")
    with writing(PredictionTable(postgres)) as log:
        recording = Recording(None, log)
        recording.many(batch(3, request_id="much too long"))
        until(lambda: log.dropped["refused"] == 3)
        note(recording, 1)
        until(lambda: log.written == 1)
    assert "3 predictions are dropped" in caplog.text


def test_a_defect_in_rows_does_not_end_the_writing(
    postgres: Postgres, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """Its traceback is in the log."""
    with writing(PredictionTable(postgres)) as log:
        log.many(batch(3, decision=np.zeros(3), X=np.zeros((2, 3))))
        until(lambda: log.dropped["refused"] == 3)
        note(Recording(None, log), 1)
        until(lambda: log.written == 1)
    assert "Traceback" in caplog.text


def test_what_waits_at_the_end_is_written(postgres: Postgres, connection: psycopg.Connection[Any]) -> None:
    """Even if the writer has not looked at it yet."""
    log = PredictionLog(PredictionTable(postgres), interval=60)
    log.start()
    recording = Recording(None, log)
    for number in range(50):
        note(recording, number)
    log.many(batch(12_000))
    log.stop(seconds=30)
    assert count(connection) == log.written == 12_050


def test_the_end_comes_in_time_and_what_is_left_is_counted(database_url: str, postgres: Postgres) -> None:
    """Somebody holds the table, and the process has to stop all the same."""
    table = PredictionTable(postgres)
    table.prepare(datetime.now(UTC))
    log = PredictionLog(table, interval=0.01)
    log.start()
    with psycopg.connect(database_url, options="-c search_path=telltale") as locking:
        locking.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
        log.many(batch(7000))
        started = time.monotonic()
        log.stop(seconds=0.3)
        took = time.monotonic() - started
    assert took < 1.5
    assert log.written + log.dropped["stopped"] == 7000


def test_a_log_that_never_began_to_write_ends_too() -> None:
    """The server may fail between putting its parts together and starting them."""
    log = PredictionLog(Reluctant(None))
    log.many(batch(2))
    log.stop()
    assert log.dropped["stopped"] == 2


def test_days_are_made_ahead_and_dropped_in_the_background(
    postgres: Postgres, connection: psycopg.Connection[Any], until: Until
) -> None:
    """Without any record coming, and again as the hours go by."""
    clock = [datetime(2024, 3, 1, 23, 30, tzinfo=UTC).timestamp()]
    with writing(PredictionTable(postgres, retention_days=1), now=lambda: clock[0]):
        until(lambda: len(_days(connection)) == 3)
        assert _days(connection) == ["20240301", "20240302", "20240303"]
        clock[0] += 2 * 86_400
        until(lambda: _days(connection) == ["20240302", "20240303", "20240304", "20240305"])


def test_recording_counts_and_logs_the_same_records(
    postgres: Postgres, connection: psycopg.Connection[Any], until: Until
) -> None:
    """The metrics and the table agree."""
    metrics = Metrics()
    with writing(PredictionTable(postgres)) as log:
        recording = Recording(metrics.versions, log)
        for number in range(10):
            note(recording, number)
        recording.many(batch(30))
        until(lambda: log.written == 40)
    labels = {"model": "default", "model_version": "20240101000000"}
    flagged = connection.execute("SELECT count(*) FROM predictions WHERE is_anomaly").fetchall()[0][0]
    assert value(metrics, "telltale_scored_records_total", **labels) == count(connection) == 40
    assert value(metrics, "telltale_flagged_records_total", **labels) == flagged == 20


class Reluctant:
    """A table behind a database that is away until the test says otherwise."""

    def __init__(self, table: PredictionTable | None) -> None:
        self._table = table
        self.is_away = True
        self.refusals = 0

    def append(self, groups: Sequence[PredictionRows], /) -> None:
        """Refuse, or pass on."""
        if self.is_away or self._table is None:
            self.refusals += 1
            raise StoreUnavailable("PostgreSQL does not answer")
        self._table.append(groups)

    def prepare(self, now: datetime, /) -> None:
        """Do nothing."""

    def retain(self, now: datetime, /) -> None:
        """Do nothing."""


def _waits_for_a_lock(connection: psycopg.Connection[Any]) -> bool:
    found = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchall()
    return bool(found[0][0])


def _days(connection: psycopg.Connection[Any]) -> list[str]:
    found = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'predictions'::regclass ORDER BY 1"
    ).fetchall()
    return [name.removeprefix("predictions_") for (name,) in found]
