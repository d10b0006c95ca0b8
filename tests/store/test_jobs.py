from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from standalone.embedded_postgres import EmbeddedPostgres
from store.attempts import Attempts
from store.ingest_log import BatchRow, IdempotencyKey, IngestLog
from store.jobs import CANCELLED, JobRefused, Jobs, NoSchema
from store.local_objects import LocalObjectStore
from store.postgres import Postgres
from store.queue import TrainingQueue, depth
from tests.store.test_attempts import Fetched
from tests.store.test_ingest_log import NOW, stored

pytestmark = pytest.mark.integration


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
def jobs(postgres: Postgres) -> Jobs:
    return Jobs(postgres, TrainingQueue(postgres))


def accept(log: IngestLog, after: int = 0, model: str = "default", key: IdempotencyKey | None = None) -> BatchRow:
    return log.accept(stored(model=model), now=NOW + timedelta(seconds=after), warnings=[], key=key)


def fail(postgres: Postgres, row: BatchRow, reason: str = "cursed") -> None:
    """Let a worker fetch the oldest job and find that it cannot be trained."""
    job = Fetched(postgres)
    attempts = Attempts(postgres, "host:1")
    attempts.begin(row.id)
    attempts.fault(row.id, reason, most=1)
    with postgres.transaction() as connection:
        connection.execute("SELECT procrastinate_finish_job_v1(%s, 'succeeded', true)", (job.job_id,))


def test_jobs_are_listed_by_state_and_model_oldest_first(jobs: Jobs, log: IngestLog, postgres: Postgres) -> None:
    rows = [accept(log, after) for after in range(3)] + [accept(log, 3, model="other")]
    fail(postgres, rows[0])
    log.finish_training(rows[1].id)
    assert [job.id for job in jobs.listed(["queued", "failed"])] == [rows[0].id, rows[2].id, rows[3].id]
    assert [job.id for job in jobs.listed(["queued"], model="other")] == [rows[3].id]
    assert [job.id for job in jobs.listed(["done"])] == [rows[1].id]
    assert [job.id for job in jobs.listed(["queued"], limit=1)] == [rows[3].id]
    assert jobs.counted() == {"queued": 2, "training": 0, "failed": 1}


def test_a_failed_job_tells_why_when_by_whom_and_after_how_many_attempts(
    jobs: Jobs, log: IngestLog, postgres: Postgres
) -> None:
    row = accept(log)
    fail(postgres, row, "ValueError: cursed")
    (job,) = jobs.starting_with(row.id)
    assert (job.state, job.reason, job.attempts, job.faults, job.worker) == (
        "failed",
        "ValueError: cursed",
        1,
        1,
        "host:1",
    )
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.started_at <= job.finished_at


def test_a_job_is_found_by_the_beginning_of_its_id(jobs: Jobs, log: IngestLog) -> None:
    row = accept(log)
    for prefix in (row.id, row.id[:8].upper(), row.id[:14], row.id.replace("-", "")):
        assert [job.id for job in jobs.starting_with(prefix)] == [row.id]
    for prefix in ("", "xyz", "%", f"{row.id}0", "'; --"):
        assert jobs.starting_with(prefix) == []


def test_a_retried_job_waits_again_with_all_its_attempts_and_the_same_version(
    jobs: Jobs, log: IngestLog, postgres: Postgres
) -> None:
    row = accept(log)
    fail(postgres, row)
    jobs.retry(row.id)
    (job,) = jobs.starting_with(row.id)
    assert (job.state, job.attempts, job.faults, job.version, job.finished_at) == ("queued", 0, 0, row.version, None)
    assert log.get(row.id).error is None
    Fetched(postgres)
    assert Attempts(postgres, "host:2").begin(row.id)


def test_a_retry_waits_behind_the_models_other_jobs(jobs: Jobs, log: IngestLog, postgres: Postgres) -> None:
    failed = accept(log)
    fail(postgres, failed)
    newer = accept(log, 1)
    jobs.retry(failed.id)
    first = Fetched(postgres)
    with postgres.transaction() as connection:
        args = connection.execute("SELECT args FROM procrastinate_jobs WHERE id = %s", (first.job_id,)).fetchone()
    assert args == ({"batch_id": newer.id},)


def test_a_request_whose_job_is_retried_gets_no_stale_answer(jobs: Jobs, log: IngestLog, postgres: Postgres) -> None:
    row = accept(log, key=IdempotencyKey("k", "sha256:1"))
    fail(postgres, row)
    log.keep_answer("k", 500, {"n": 1})
    jobs.retry(row.id)
    record = log.find_key("k")
    assert record is not None
    assert (record.batch_id, record.status, record.answer) == (row.id, None, None)


def test_only_what_has_failed_is_retried(jobs: Jobs, log: IngestLog, postgres: Postgres) -> None:
    row = accept(log)
    with pytest.raises(JobRefused, match="not failed: it is queued"):
        jobs.retry(row.id)
    for unknown in ("00000000-0000-0000-0000-000000000000", row.id[:8], "nonsense"):
        with pytest.raises(JobRefused, match="unknown"):
            jobs.retry(unknown)
    with postgres.transaction() as connection:
        assert depth(connection) == 1


def test_all_that_failed_is_retried_in_the_order_of_versions(jobs: Jobs, log: IngestLog, postgres: Postgres) -> None:
    rows = [accept(log, after) for after in range(3)]
    for row in rows[:2]:
        fail(postgres, row)
    other = accept(log, 5, model="other")
    log.fail_training(other.id, "cursed")
    assert [job.id for job in jobs.retry_failed(model="default")] == [rows[0].id, rows[1].id]
    assert jobs.retry_failed(model="default") == []
    assert [job.id for job in jobs.retry_failed()] == [other.id]
    assert jobs.counted() == {"queued": 4, "training": 0, "failed": 0}


def test_a_job_that_waits_can_be_cancelled_and_brought_back(jobs: Jobs, log: IngestLog, postgres: Postgres) -> None:
    row = accept(log)
    jobs.cancel(row.id)
    assert (log.get(row.id).state, log.get(row.id).error) == ("failed", CANCELLED)
    with postgres.transaction() as connection:
        assert depth(connection) == 0
    jobs.retry(row.id)
    assert log.get(row.id).state == "queued"


def test_a_job_that_a_worker_has_is_not_cancelled(jobs: Jobs, log: IngestLog, postgres: Postgres) -> None:
    row = accept(log)
    Fetched(postgres)
    Attempts(postgres, "host:1").begin(row.id)
    with pytest.raises(JobRefused, match="not queued: it is training"):
        jobs.cancel(row.id)
    assert log.get(row.id).state == "training"
    with pytest.raises(JobRefused, match="unknown"):
        jobs.cancel("00000000-0000-0000-0000-000000000000")


def test_a_job_that_is_to_be_tried_again_says_when(jobs: Jobs, log: IngestLog, postgres: Postgres) -> None:
    row = accept(log)
    assert jobs.listed(["queued"])[0].next_attempt_at is None
    with postgres.transaction() as connection:
        connection.execute("UPDATE procrastinate_jobs SET scheduled_at = %s", (NOW,))
    (job,) = jobs.starting_with(row.id)
    assert job.next_attempt_at == NOW


def test_a_database_without_our_tables_is_said_to_be_one(postgres_server: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE nothing_in_it")
    empty = Postgres(f"{postgres_server.url.rpartition('/')[0]}/nothing_in_it")
    empty.open()
    with pytest.raises(NoSchema):
        Jobs(empty, TrainingQueue(empty)).counted()
    empty.close()
