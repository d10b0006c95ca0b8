"""Reading windows: what is read and what is held depends on the window, not on all that a model ever took in."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from contract.columns import Batch
from store.ingest_log import BatchRow, IngestLog
from tests.trainer.conftest import MLFLOW_WARNINGS, Bench, random_batch
from trainer import window as module
from trainer.dataset import Rows
from trainer.window import BatchCache, Bounds, WindowReader


@dataclass
class Watched:
    """A log that says which batches were read from the object store."""

    log: IngestLog
    versions: list[str] = field(default_factory=list)

    def read(self, row: BatchRow) -> Batch:
        self.versions.append(row.version)
        return self.log.read(row)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


def reader(watched: Watched, bounds: Bounds) -> WindowReader:
    return WindowReader(watched, bounds)  # type: ignore[arg-type]


def accepted(bench: Bench, batches: int, records: int, *, model: str = "default") -> list[BatchRow]:
    """Batches of a model, oldest first, a second apart."""
    made = [random_batch(records, seed=number, model=model) for number in range(batches)]
    return [bench.accept(batch, after=number) for number, batch in enumerate(made)]


def newest_first(rows: Sequence[BatchRow]) -> list[str]:
    return [row.version for row in reversed(rows)]


@pytest.mark.integration
class TestReading:
    pytestmark = MLFLOW_WARNINGS

    def test_of_all_that_a_model_took_in_the_window_alone_is_read(self, bench: Bench) -> None:
        rows, watched = accepted(bench, 30, 10), Watched(bench.log)
        window = reader(watched, Bounds(records=35)).read(rows[-1])
        assert watched.versions == newest_first(rows[-4:])
        assert (window.batches, window.dataset.X.shape) == (4, (35, 4))

    def test_a_bound_of_values_is_a_bound_of_records_by_the_features(self, bench: Bench) -> None:
        rows, watched = accepted(bench, 6, 10), Watched(bench.log)
        window = reader(watched, Bounds(values=80)).read(rows[-1])
        assert watched.versions == newest_first(rows[-2:])
        assert window.dataset.X.size == 80

    def test_no_more_batches_are_read_than_the_bound_says(self, bench: Bench) -> None:
        rows, watched = accepted(bench, 6, 10), Watched(bench.log)
        assert reader(watched, Bounds(batches=3)).read(rows[-1]).batches == 3
        assert watched.versions == newest_first(rows[-3:])

    def test_memory_is_that_of_the_window_however_much_was_taken_in(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_CACHE_BYTES", 0)
        short, long = (accepted(bench, n, 1_000, model=f"of-{n}-batches") for n in (4, 40))
        bounds = Bounds(records=4_000)
        reader(Watched(bench.log), bounds).read(short[-1])  # what is imported or cached once
        peaks = [peak(reader(Watched(bench.log), bounds), rows[-1]) for rows in (short, long)]
        assert peaks[0] > 4_000 * (4 + 1) * 8
        assert peaks[1] < 1.2 * peaks[0]

    def test_the_next_version_reads_its_own_batch_alone(self, bench: Bench) -> None:
        rows, watched = accepted(bench, 5, 10), Watched(bench.log)
        windows = reader(watched, Bounds(records=30))
        windows.read(rows[3])
        watched.versions.clear()
        window = windows.read(rows[4])
        assert watched.versions == newest_first(rows[4:])
        expected = np.concatenate([bench.log.read(row).X for row in rows[2:]])
        assert sorted(window.dataset.X.tolist()) == sorted(expected.tolist())

    def test_a_window_that_is_in_memory_survives_its_reading(self, bench: Bench) -> None:
        """The rows are put in order of time, not those that are held for the next version."""
        rows = accepted(bench, 3, 10)
        windows = WindowReader(bench.log, Bounds(records=25))
        first, again = (windows.read(rows[-1]).dataset for _ in range(2))
        assert first.digest == again.digest
        assert np.array_equal(first.X, again.X)


def peak(windows: WindowReader, row: BatchRow) -> int:
    tracemalloc.start()
    try:
        windows.read(row)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def some(rows: int) -> Rows:
    """A batch of ``rows`` times 16 bytes."""
    return Rows(("f0",), np.zeros(rows, np.int64), np.zeros((rows, 1)))


def scan(cache: BatchCache, wanted: Sequence[str]) -> int:
    """Read a window in which every batch has 160 bytes; return how many were held."""
    hits = 0
    for batch_id in wanted:
        hits += cache.get(batch_id) is not None
        cache.add(batch_id, some(10), wanted=wanted)
    return hits


def test_a_cache_holds_what_fits() -> None:
    cache = BatchCache(320)
    assert [scan(cache, ["b", "a"]) for _ in range(2)] == [0, 2]


def test_a_window_that_is_larger_than_the_cache_still_finds_some_of_it() -> None:
    cache = BatchCache(320)
    assert scan(cache, ["d", "c", "b", "a"]) == 0
    assert scan(cache, ["e", "d", "c", "b"]) == 2


def test_what_no_window_wants_any_more_goes_first() -> None:
    cache = BatchCache(480)
    scan(cache, ["c", "b", "a"])
    scan(cache, ["d", "c", "b"])
    assert [cache.get(name) is not None for name in "abcd"] == [False, True, True, True]


def test_of_other_models_batches_the_longest_unused_goes() -> None:
    cache = BatchCache(480)
    for name in "abc":
        cache.add(name, some(10), wanted=[name])
    cache.get("a")
    cache.add("d", some(10), wanted=["d"])
    assert [cache.get(name) is not None for name in "abcd"] == [True, False, True, True]


def test_a_batch_beyond_the_whole_limit_is_not_held_and_drives_nothing_out() -> None:
    cache = BatchCache(320)
    cache.add("a", some(10), wanted=["a"])
    cache.add("huge", some(21), wanted=["huge"])
    assert cache.get("huge") is None
    assert cache.get("a") is not None
