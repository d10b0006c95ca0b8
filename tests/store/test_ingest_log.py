from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from contract.columns import Batch
from contract.errors import CorruptArtifact
from store.encoded_batch import EncodedBatch
from store.errors import KeyInUse, SignatureMismatch, StoreUnavailable
from store.ingest_log import IdempotencyKey, IngestLog
from store.local_objects import LocalObjectStore
from store.parquet import decode_batch, encode_batch
from store.postgres import Postgres, connection_options
from store.queue import TrainingQueue, depth

pytestmark = pytest.mark.integration
NOW = datetime(2024, 1, 15, 10, 0, tzinfo=UTC)


def batch(rows: int = 3, *, model: str = "default", names: tuple[str, ...] = ("f0", "f1")) -> Batch:
    X = np.arange(rows * len(names), dtype=np.float64).reshape(rows, len(names))
    return Batch(model, names, [f"VH-{i}" for i in range(rows)], np.arange(rows, dtype=np.int64), X)


def stored(rows: int = 3, **changes: Any) -> EncodedBatch:
    return encode_batch(batch(rows, **changes))


@pytest.fixture
def postgres(database_url: str) -> Iterator[Postgres]:
    postgres = Postgres(database_url)
    postgres.open()
    yield postgres
    postgres.close()


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


@pytest.fixture
def log(postgres: Postgres, objects: LocalObjectStore) -> IngestLog:
    return IngestLog(postgres, objects, TrainingQueue(postgres))


def accept(log: IngestLog, **changes: Any) -> Any:
    return log.accept(stored(**changes), now=NOW, warnings=[])


def test_an_accepted_batch_is_stored_queued_and_has_the_version_of_now(log: IngestLog, postgres: Postgres) -> None:
    row = log.accept(stored(), now=NOW, warnings=["few records"])
    assert (row.version, row.record_count, row.state, row.warnings) == ("20240115100000", 3, "queued", ["few records"])
    np.testing.assert_array_equal(log.read(row).X, batch().X)
    with postgres.transaction() as connection:
        assert depth(connection) == 1
    assert log.signature("default") == ("f0", "f1")


def test_batches_at_the_same_second_take_the_next_ones(log: IngestLog) -> None:
    with ThreadPoolExecutor(6) as pool:
        rows = list(pool.map(lambda _: accept(log), range(6)))
    assert sorted(row.version for row in rows) == [f"2024011510000{i}" for i in range(6)]


def test_models_do_not_share_versions(log: IngestLog) -> None:
    assert accept(log).version == accept(log, model="other").version == "20240115100000"


def test_other_features_are_refused_and_leave_nothing(log: IngestLog, objects: LocalObjectStore) -> None:
    accept(log)
    with pytest.raises(SignatureMismatch) as caught:
        accept(log, names=("f0", "f1", "f2"))
    assert caught.value.expected == ("f0", "f1")
    assert len(list(objects.keys("batches/"))) == 1


def test_an_idempotency_key_is_taken_once_and_keeps_its_first_answer(log: IngestLog, objects: LocalObjectStore) -> None:
    key = IdempotencyKey("abc", "sha256:1")
    row = log.accept(stored(), now=NOW, warnings=[], key=key)
    with pytest.raises(KeyInUse):
        log.accept(stored(), now=NOW, warnings=[], key=key)
    log.keep_answer("abc", 201, {"n": 1})
    log.keep_answer("abc", 500, {"n": 2})
    record = log.find_key("abc")
    assert record is not None
    assert (record.batch_id, record.body_digest, record.status, record.answer) == (row.id, "sha256:1", 201, {"n": 1})
    assert log.find_key("new") is None
    assert len(list(objects.keys("batches/"))) == 1


def test_a_refused_batch_does_not_take_its_key(log: IngestLog) -> None:
    accept(log)
    with pytest.raises(SignatureMismatch):
        log.accept(stored(names=("x",)), now=NOW, warnings=[], key=IdempotencyKey("abc", "sha256:1"))
    assert log.find_key("abc") is None


def test_the_window_reaches_back_until_it_holds_enough(log: IngestLog) -> None:
    rows = [accept(log, rows=10) for _ in range(4)]
    accept(log, rows=10, model="other")
    assert [row.id for row in log.window(rows[2], records=15)] == [rows[2].id, rows[1].id]
    assert [row.id for row in log.window(rows[2], records=1)] == [rows[2].id]
    assert len(log.window(rows[3], records=10_000)) == 4


def test_a_batch_goes_from_queued_to_its_verdict(log: IngestLog) -> None:
    row = accept(log)
    log.start_training(row.id)
    assert log.get(row.id).state == "training"
    log.finish_training(row.id)
    assert [ungated.id for ungated in log.ungated()] == [row.id]
    assert not log.get(row.id).settled
    log.record_gate(row.id, "passed", "Passed: fine")
    assert log.ungated() == []
    assert log.get(row.id).settled
    assert log.of_version("default", row.version) == log.get(row.id)


def test_a_failed_batch_says_why(log: IngestLog) -> None:
    row = accept(log)
    log.fail_training(row.id, "no luck")
    assert (log.get(row.id).state, log.get(row.id).error, log.get(row.id).settled) == ("failed", "no luck", True)


def test_a_batch_whose_file_changed_is_not_read(log: IngestLog, tmp_path: Path) -> None:
    row = accept(log)
    (tmp_path / row.object_key).write_bytes(encode_batch(batch(rows=2)).data)
    with pytest.raises(CorruptArtifact):
        log.read(row)


def test_a_server_that_is_gone_is_unavailable_and_a_return_is_noticed(
    log: IngestLog, database_url: str, tmp_path: Path
) -> None:
    accept(log)
    with psycopg.connect(database_url, autocommit=True, **connection_options()) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
    assert log.signature("default") == ("f0", "f1")
    gone = Postgres("postgresql://nobody:x@127.0.0.1:1/none", wait_seconds=0.2)
    gone.open()
    with pytest.raises(StoreUnavailable):
        IngestLog(gone, LocalObjectStore(tmp_path), TrainingQueue(gone)).signature("x")
    gone.close()


def test_parquet_keeps_names_order_times_and_every_bit() -> None:
    X = np.array([[0.1, -0.0, 1e-300], [np.pi, 3e38, -1]])
    written = Batch("m", ("z", "a", "ü"), ["VH-1", "VH-2"], np.array([1, 1705312800123456], np.int64), X)
    back = decode_batch(encode_batch(written).data)
    assert (back.model, back.feature_names, list(back.vehicle_ids)) == ("m", ("z", "a", "ü"), ["VH-1", "VH-2"])
    np.testing.assert_array_equal(back.X.view(np.int64), X.view(np.int64))
    np.testing.assert_array_equal(back.timestamps, written.timestamps)


def test_what_is_no_parquet_file_is_corrupt() -> None:
    with pytest.raises(CorruptArtifact):
        decode_batch(b"PAR1 nonsense")
