from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store.attempts import Attempts, Silence, lock_name
from store.ingest_log import BatchRow, IngestLog
from store.local_objects import LocalObjectStore
from store.postgres import Postgres, connection_options
from store.queue import QUEUE, TrainingQueue
from tests.store.test_ingest_log import NOW, stored

pytestmark = pytest.mark.integration
SILENCE = Silence(lost=8.0, hung=300.0)


@pytest.fixture
def postgres(database_url: str) -> Iterator[Postgres]:
    postgres = Postgres(database_url)
    postgres.open()
    yield postgres
    postgres.close()


@pytest.fixture
def log(postgres: Postgres, tmp_path: Path) -> IngestLog:
    return IngestLog(postgres, LocalObjectStore(tmp_path), TrainingQueue(postgres))


@pytest.fixture
def row(log: IngestLog) -> BatchRow:
    return log.accept(stored(), now=NOW, warnings=[])


class Fetched:
    """A job that a worker has fetched, as procrastinate does it, and fell silent ``silent`` seconds ago."""

    def __init__(self, postgres: Postgres, *, silent: float = 0.0) -> None:
        self._postgres = postgres
        (self.worker_id,) = self._one("SELECT worker_id FROM procrastinate_register_worker_v1()")
        (self.job_id,) = self._one("SELECT id FROM procrastinate_fetch_job_v2(%s, %s)", [QUEUE], self.worker_id)
        heartbeat = "UPDATE procrastinate_workers SET last_heartbeat = now() - make_interval(secs => %s) RETURNING id"
        self._one(heartbeat, silent)

    def status(self) -> str | None:
        row = self._one("SELECT max(status::text) FROM procrastinate_jobs WHERE id = %s", self.job_id)
        return None if row[0] is None else str(row[0])

    def forget(self) -> None:
        self._one("DELETE FROM procrastinate_workers WHERE id = %s RETURNING id", self.worker_id)

    def _one(self, query: Any, *values: object) -> tuple[Any, ...]:
        with self._postgres.transaction() as connection:
            row = connection.execute(query, values).fetchone()
        assert row is not None
        return tuple(row)


@contextmanager
def attempt_at(url: str, batch_id: str) -> Iterator[psycopg.Connection[Any]]:
    """A session that holds a batch's lock, as a training does."""
    with psycopg.connect(url, autocommit=True, **connection_options()) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (lock_name(batch_id),))
        yield connection


def state_of(postgres: Postgres, row: BatchRow) -> tuple[Any, ...]:
    query = "SELECT state, attempts, faults, losses, worker, setback FROM batches WHERE id = %s"
    with postgres.transaction() as connection:
        return tuple(connection.execute(query, (row.id,)).fetchone() or ())


def test_an_attempt_shows_who_is_at_it(postgres: Postgres, row: BatchRow) -> None:
    assert Attempts(postgres, "host:1").begin(row.id)
    assert Attempts(postgres, "host:2").begin(row.id)
    assert state_of(postgres, row) == ("training", 2, 0, 0, "host:2", None)


def test_nothing_is_begun_that_is_trained_or_failed_or_gone(postgres: Postgres, log: IngestLog, row: BatchRow) -> None:
    attempts = Attempts(postgres, "host:1")
    log.finish_training(row.id)
    assert not attempts.begin(row.id)
    log.fail_training(row.id, "no")
    assert not attempts.begin(row.id)
    assert not attempts.begin("00000000-0000-0000-0000-000000000000")
    assert state_of(postgres, row)[:2] == ("failed", 0)


def test_workers_share_a_batchs_faults_and_the_last_one_fails_it(
    postgres: Postgres, log: IngestLog, row: BatchRow
) -> None:
    for count, worker in enumerate(("host:1", "host:2"), start=1):
        attempts = Attempts(postgres, worker)
        assert attempts.begin(row.id)
        fault = attempts.fault(row.id, f"fault {count}", most=3)
        assert fault is not None
        assert (fault.count, fault.given_up) == (count, False)
        assert state_of(postgres, row) == ("queued", count, count, 0, worker, f"fault {count}")
    last = Attempts(postgres, "host:3").fault(row.id, "fault 3", most=3)
    assert last is not None
    assert last.given_up
    assert (log.get(row.id).state, log.get(row.id).error) == ("failed", "fault 3")
    assert Attempts(postgres, "host:4").fault(row.id, "too late", most=3) is None
    assert log.get(row.id).error == "fault 3"


def test_a_lost_workers_job_is_given_back_once_however_many_look(postgres: Postgres, row: BatchRow) -> None:
    job = Fetched(postgres, silent=9)
    Attempts(postgres, "host:1").begin(row.id)
    rescuers = [Attempts(postgres, f"host:{number}") for number in (2, 3)]
    found = [lost for rescuer in rescuers for lost in rescuer.take_over(SILENCE, most=20, ours=0)]
    assert [(lost.batch_id, lost.worker, lost.losses, lost.given_up) for lost in found] == [
        (row.id, "host:1", 1, False)
    ]
    assert job.status() == "todo"
    assert state_of(postgres, row) == ("queued", 1, 0, 1, "host:1", "worker host:1 was lost")


@pytest.mark.usefixtures("row")
@pytest.mark.parametrize("silent", [0.0, 7.0])
def test_a_worker_that_shows_signs_of_life_keeps_its_job(postgres: Postgres, silent: float) -> None:
    job = Fetched(postgres, silent=silent)
    assert Attempts(postgres, "host:2").take_over(SILENCE, most=20, ours=0) == []
    assert job.status() == "doing"


@pytest.mark.usefixtures("row")
def test_our_own_job_is_never_taken_over(postgres: Postgres) -> None:
    job = Fetched(postgres, silent=1000)
    assert Attempts(postgres, "host:1").take_over(SILENCE, most=20, ours=job.job_id) == []
    assert job.status() == "doing"


def test_a_worker_that_is_only_late_and_still_at_it_keeps_its_job(
    postgres: Postgres, database_url: str, row: BatchRow
) -> None:
    job = Fetched(postgres, silent=60)
    with attempt_at(database_url, row.id) as connection:
        assert Attempts(postgres, "host:2").take_over(SILENCE, most=20, ours=0) == []
        assert job.status() == "doing"
        connection.execute("SELECT 1")
    assert len(Attempts(postgres, "host:2").take_over(SILENCE, most=20, ours=0)) == 1


@pytest.mark.parametrize("is_registered", [True, False])
def test_a_worker_that_hangs_loses_its_session_and_then_its_job(
    postgres: Postgres, database_url: str, row: BatchRow, *, is_registered: bool
) -> None:
    job = Fetched(postgres, silent=301)
    if not is_registered:
        job.forget()
    with attempt_at(database_url, row.id) as connection:
        assert len(Attempts(postgres, "host:2").take_over(SILENCE, most=20, ours=0)) == 1
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert job.status() == "todo"


def test_a_batch_at_which_many_workers_were_lost_has_failed_and_leaves_the_queue(
    postgres: Postgres, log: IngestLog, row: BatchRow
) -> None:
    attempts = Attempts(postgres, "host:1")
    for _ in range(2):
        job = Fetched(postgres, silent=9)
        attempts.begin(row.id)
        (lost,) = attempts.take_over(SILENCE, most=2, ours=0)
    assert (lost.losses, lost.given_up) == (2, True)
    assert job.status() is None
    failed = log.get(row.id)
    assert failed.state == "failed"
    assert failed.error is not None
    assert failed.error.startswith("training it ended the worker process 2 times, the last being host:1")
    assert log.read(failed).X.shape == (3, 2)


def test_a_worker_that_was_lost_after_it_had_finished_leaves_nothing_to_do(
    postgres: Postgres, log: IngestLog, row: BatchRow
) -> None:
    job = Fetched(postgres, silent=9)
    log.finish_training(row.id)
    assert Attempts(postgres, "host:2").take_over(SILENCE, most=20, ours=0) == []
    assert job.status() is None
    assert log.get(row.id).state == "done"


def test_a_job_that_is_handed_back_can_be_fetched_at_once_and_is_announced(
    postgres: Postgres, database_url: str, row: BatchRow
) -> None:
    job = Fetched(postgres)
    attempts = Attempts(postgres, "host:1")
    attempts.begin(row.id)
    with (
        psycopg.connect(database_url, autocommit=True, **connection_options()) as listener,
        attempt_at(database_url, row.id) as connection,
    ):
        listener.execute(f'LISTEN "procrastinate_queue_v1#{QUEUE}"')
        attempts.hand_back(job.job_id, row.id, "stopping", worker_id=job.worker_id)
        (told,) = listener.notifies(timeout=5, stop_after=1)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert f'"job_id" : {job.job_id}' in told.payload
    assert state_of(postgres, row) == ("queued", 1, 0, 0, "host:1", "stopping")
    assert Fetched(postgres).job_id == job.job_id


def test_a_version_clears_what_went_wrong_before(postgres: Postgres, log: IngestLog, row: BatchRow) -> None:
    attempts = Attempts(postgres, "host:1")
    attempts.begin(row.id)
    attempts.wait(row.id, "waits: MLflow")
    assert state_of(postgres, row)[-1] == "waits: MLflow"
    log.finish_training(row.id)
    assert state_of(postgres, row) == ("done", 1, 0, 0, "host:1", None)
