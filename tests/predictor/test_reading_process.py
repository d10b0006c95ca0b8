from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from contract.errors import InvalidInput, Malformed
from contract.telemetry import Limits
from predictor.ingestion.reading import read_batch
from predictor.ingestion.reading_process import ReadingProcess
from store.errors import StoreUnavailable

NOW = datetime(2024, 1, 15, 12, tzinfo=UTC)
LIMITS = Limits()


def body(n: int = 3, **first: Any) -> bytes:
    records = [
        {"vehicle_id": f"VH-{i}", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [0.5, i]} for i in range(n)
    ]
    records[0] |= first
    return json.dumps({"model": "m", "records": records}).encode()


def unknown(_model: str) -> None:
    """No batch came before."""


@pytest.fixture
def child() -> Iterator[ReadingProcess]:
    """A reading process that gives everything to its child."""
    reading = ReadingProcess(small_bytes=0)
    yield reading
    reading.close()


def test_a_body_read_by_the_child_gives_the_batch_that_it_gives_here(child: ReadingProcess) -> None:
    there = child.read(body(50), now=NOW, limits=LIMITS, signature=unknown)
    assert there == read_batch(body(50), now=NOW, limits=LIMITS, signature=unknown)


@pytest.mark.parametrize("small_bytes", [0, 1 << 20])
def test_a_body_that_names_no_model_is_for_the_default(small_bytes: int) -> None:
    nameless = json.dumps({"records": json.loads(body())["records"]}).encode()
    reading = ReadingProcess(default_model="trucks", small_bytes=small_bytes)
    try:
        assert reading.read(nameless, now=NOW, limits=LIMITS, signature=unknown).model == "trucks"
        assert reading.read(body(), now=NOW, limits=LIMITS, signature=unknown).model == "m"
    finally:
        reading.close()


def test_small_bodies_start_no_child() -> None:
    reading = ReadingProcess()
    assert reading.read(body(), now=NOW, limits=LIMITS, signature=unknown).record_count == 3
    assert reading._process is None


def test_refusals_come_back_whole(child: ReadingProcess) -> None:
    bad = body(40, vehicle_id=7)
    with pytest.raises(InvalidInput) as there:
        child.read(bad, now=NOW, limits=LIMITS, signature=unknown)
    with pytest.raises(InvalidInput) as here:
        read_batch(bad, now=NOW, limits=LIMITS, signature=unknown)
    assert (there.value.faults, there.value.more) == (here.value.faults, here.value.more)
    with pytest.raises(InvalidInput, match="expects 3 values"):
        child.read(body(), now=NOW, limits=LIMITS, signature=lambda _: ("a", "b", "c"))
    with pytest.raises(Malformed, match="not complete JSON"):
        child.read(body()[:-2], now=NOW, limits=LIMITS, signature=unknown)


def test_a_lost_child_is_told_and_replaced(child: ReadingProcess) -> None:
    child.read(body(), now=NOW, limits=LIMITS, signature=unknown)
    process = child._process
    assert process is not None
    process.kill()
    try:
        child.read(body(), now=NOW, limits=LIMITS, signature=unknown)
    except StoreUnavailable as told:
        assert "send the request again" in str(told)  # noqa: PT017 - it may also be noticed in time and be replaced
    assert child.read(body(), now=NOW, limits=LIMITS, signature=unknown).record_count == 3


def test_the_child_ends_when_it_is_closed(child: ReadingProcess) -> None:
    child.read(body(), now=NOW, limits=LIMITS, signature=unknown)
    process = child._process
    assert process is not None
    child.close()
    assert process.returncode == 0


def test_the_features_are_asked_for_by_the_bodys_model(child: ReadingProcess) -> None:
    asked = []

    def signature(model: str) -> tuple[str, ...]:
        asked.append(model)
        return ("x", "y")

    batch = child.read(body(), now=NOW, limits=LIMITS, signature=signature)
    assert (asked, batch.feature_names) == (["m"], ("x", "y"))


def test_a_signature_that_cannot_be_told_leaves_the_child_ready_for_the_next(child: ReadingProcess) -> None:
    def gone(_model: str) -> tuple[str, ...]:
        raise StoreUnavailable("PostgreSQL does not answer")

    with pytest.raises(StoreUnavailable, match="PostgreSQL"):
        child.read(body(), now=NOW, limits=LIMITS, signature=gone)
    assert child.read(body(), now=NOW, limits=LIMITS, signature=unknown).record_count == 3
