from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from contract.columns import Batch
from store import batch_retention
from store.batch_retention import BatchRetention
from store.ingest_log import BatchRow, IdempotencyKey, IngestLog
from store.jobs import JobRefused, Jobs
from store.local_objects import LocalObjectStore
from store.parquet import encode_batch
from store.postgres import Postgres
from store.queue import TrainingQueue, withdraw

pytestmark = pytest.mark.integration
NOW = datetime(2024, 1, 15, 10, 0, tzinfo=UTC)


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
def retention(postgres: Postgres) -> BatchRetention:
    return BatchRetention(postgres)


def batch(model: str = "default") -> Batch:
    return Batch(model, ("f0", "f1"), ["VH-1"], np.zeros(1, np.int64), np.zeros((1, 2)))


def accept(log: IngestLog, *, model: str = "default", key: str | None = None) -> BatchRow:
    claim = None if key is None else IdempotencyKey(key, "sha256:0")
    return log.accept(encode_batch(batch(model)), now=NOW, warnings=[], key=claim)


def failed(log: IngestLog, postgres: Postgres, **more: str) -> BatchRow:
    row = accept(log, **more)
    with postgres.transaction() as connection:
        withdraw(connection, row.id)
    log.fail_training(row.id, "no luck")
    return row


def test_batches_come_newest_first_across_pages(
    log: IngestLog, retention: BatchRetention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_retention, "_PAGE", 2)
    rows = [accept(log) for _ in range(5)]
    accept(log, model="other")
    assert [one.id for one in retention.newest_first("default")] == [row.id for row in reversed(rows)]
    assert retention.models() == {"default": 2, "other": 2}


def test_a_batch_is_pending_until_the_gate_has_judged_it(
    log: IngestLog, retention: BatchRetention, postgres: Postgres
) -> None:
    row = accept(log)

    def is_pending() -> set[bool]:
        (listed,) = retention.newest_first("default")
        return {listed.pending, retention.is_pending(row.id), retention.pending("default") == {row.id: row.version}}

    assert is_pending() == {True}
    log.start_training(row.id)
    assert is_pending() == {True}
    with postgres.transaction() as connection:
        withdraw(connection, row.id)
    log.finish_training(row.id)
    assert is_pending() == {True}
    log.record_gate(row.id, "passed", "Passed: fine")
    assert is_pending() == {False}
    assert retention.pending("default") == {}


def test_a_batch_with_a_job_in_the_queue_is_pending_whatever_its_state(
    log: IngestLog, retention: BatchRetention
) -> None:
    row = accept(log)
    log.fail_training(row.id, "no luck")
    assert retention.is_pending(row.id)
    assert retention.pending("default") == {row.id: row.version}
    assert [one.pending for one in retention.newest_first("default")] == [True]
    assert not retention.remove(row.id)


def test_what_last_happened_to_a_batch_is_its_age(
    log: IngestLog, retention: BatchRetention, postgres: Postgres
) -> None:
    failed(log, postgres)
    (listed,) = retention.newest_first("default")
    assert abs(listed.touched - retention.now()) < timedelta(minutes=1)
    assert listed.failed


def test_a_removed_batch_takes_its_key_along(log: IngestLog, retention: BatchRetention, postgres: Postgres) -> None:
    row, other = failed(log, postgres, key="a"), failed(log, postgres, key="b")
    assert retention.remove(row.id)
    assert not retention.remove(row.id)
    assert (log.find(row.id), log.find_key("a")) == (None, None)
    assert log.find_key("b") is not None
    assert retention.known([row.id, other.id]) == {other.id}
    assert retention.of_version("default", row.version) is None
    assert retention.of_version("default", other.version) == other.id


def test_a_retry_and_a_removal_never_both_happen(log: IngestLog, retention: BatchRetention, postgres: Postgres) -> None:
    jobs, refusals = Jobs(postgres, TrainingQueue(postgres)), list[str]()
    for _ in range(10):
        row = failed(log, postgres)
        start, done = threading.Barrier(2), list[str]()

        def retry(job: str = row.id, start: threading.Barrier = start, done: list[str] = done) -> None:
            start.wait()
            try:
                jobs.retry(job)
            except JobRefused as refused:
                refusals.append(refused.why)
            else:
                done.append("retried")

        thread = threading.Thread(target=retry)
        thread.start()
        start.wait()
        if retention.remove(row.id):
            done.append("removed")
        thread.join()
        assert len(done) == 1
        assert (log.find(row.id) is None) == (done == ["removed"])
        assert retention.is_pending(row.id) == (done == ["retried"])
    assert set(refusals) <= {"unknown"}


def test_removing_reads_no_table_from_end_to_end(log: IngestLog, retention: BatchRetention, postgres: Postgres) -> None:
    row = failed(log, postgres, key="a")
    with postgres.transaction() as connection:
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = connection.execute("EXPLAIN DELETE FROM idempotency_keys WHERE batch_id = %s", (row.id,)).fetchall()
    assert "idempotency_keys_batch" in str(plan)
    assert retention.remove(row.id)
