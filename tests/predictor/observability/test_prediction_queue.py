"""What waits to be written: bounded, complete, and without a copy of what batches hold."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from predictor.observability.prediction_queue import PredictionQueue
from store.prediction_rows import PredictionRows
from tests.predictor.observability.loaded import batch, version


def put(queue: PredictionQueue, n: int = 1, *, features: int = 3, name: str = "v") -> None:
    """Queue lone records."""
    loaded = version(features=features)
    for number in range(n):
        queue.one(loaded, -0.1, [float(number)] * features, f"r-{number}", "score", f"{name}-{number}")


def taken(queue: PredictionQueue, places: int = 10**9) -> list[PredictionRows]:
    """Take records out, as the writer does when they are written."""
    groups = queue.take(places)
    queue.give_back(groups)
    return groups


def test_lone_records_come_out_as_arrays_by_version() -> None:
    """With everything that is known of them."""
    queue = PredictionQueue(100, now=lambda: 12.5)
    old, new = version(version="20240101000000"), version(version="20240202000000")
    queue.one(old, -0.5, [1, 2.5, 3.0], "r-1", "score", "v-1")
    queue.one(new, 0.25, (4.0, 5.0, 6.0), "r-2", "v2-grpc", None)
    queue.one(old, 0.5, [7.0, 8.0, 9.0], "r-3", "score", "v-3")
    first, second = taken(queue)
    assert (first.model, first.model_version, first.protocol) == ("default", "20240101000000", "score")
    assert first.X.tolist() == [[1, 2.5, 3], [7, 8, 9]]
    assert np.array_equal(first.decision, [-0.5, 0.5])
    assert np.asarray(first.at).tolist() == [12.5, 12.5]
    assert list(first.request_ids) == ["r-1", "r-3"]
    assert list(first.vehicle_ids or ()) == ["v-1", "v-3"]
    assert (second.model_version, second.protocol, list(second.vehicle_ids or ())) == (
        "20240202000000",
        "v2-grpc",
        [None],
    )


def test_a_batch_is_kept_as_the_arrays_that_it_came_in() -> None:
    """100,000 rows must not become 100,000 objects, nor be held twice."""
    queue = PredictionQueue(100_000)
    scored = batch(100_000)
    queue.many(scored)
    (rows,) = taken(queue)
    assert np.shares_memory(rows.X, scored.X)
    assert np.shares_memory(rows.decision, scored.decision)
    assert rows.request_ids == "batch"


def test_the_newest_are_dropped_and_counted_when_it_is_full() -> None:
    """Whoever comes first is kept."""
    queue = PredictionQueue(3)
    put(queue, 5)
    assert queue.dropped == 2
    (rows,) = taken(queue)
    assert list(rows.request_ids) == ["r-0", "r-1", "r-2"]
    put(queue, 1)
    assert (queue.dropped, queue.records) == (2, 1)


def test_places_are_free_only_when_what_was_taken_is_written() -> None:
    """Else the writer's batch would come on top of the bound."""
    queue = PredictionQueue(3)
    put(queue, 3)
    groups = queue.take(10)
    put(queue, 1)
    queue.many(batch(2))
    assert queue.dropped == 3
    queue.give_back(groups)
    put(queue, 1)
    queue.many(batch(2))
    assert (queue.dropped, queue.places) == (3, 3)


def test_of_a_batch_as_many_rows_are_kept_as_there_is_room_for() -> None:
    """As a copy: a view of ten rows would hold all 100,000 in memory."""
    queue = PredictionQueue(10)
    scored = batch(100)
    queue.many(scored)
    assert queue.dropped == 90
    (rows,) = taken(queue)
    assert np.array_equal(rows.X, scored.X[:10])
    assert not np.shares_memory(rows.X, scored.X)
    queue.many(batch(4, vehicle_ids=["a", "b", "c", "d"]))
    put(queue, 7)
    assert queue.dropped == 91


def test_lone_records_and_batches_share_the_room() -> None:
    """Whichever comes first."""
    queue = PredictionQueue(10)
    put(queue, 6)
    queue.many(batch(6))
    assert (queue.places, queue.dropped) == (10, 2)
    put(queue, 1)
    assert queue.dropped == 3


@pytest.mark.parametrize(("features", "kept"), [(1, 8), (16, 8), (17, 4), (1024, 0)])
def test_wide_records_take_more_room(features: int, kept: int) -> None:
    """So that memory is bounded, whatever the model."""
    alone, together = PredictionQueue(8), PredictionQueue(8)
    put(alone, 20, features=features)
    together.many(batch(20, X=np.zeros((20, features))))
    assert (alone.records, alone.dropped) == (kept, 20 - kept)
    assert (together.records, together.dropped) == (kept, 20 - kept)


def test_a_batch_is_taken_in_parts_that_come_to_the_whole() -> None:
    """In order, and with their own vehicles."""
    queue = PredictionQueue(1000)
    scored = batch(25, vehicle_ids=[f"v-{row}" for row in range(25)])
    queue.many(scored)
    put(queue, 3)
    parts: list[PredictionRows] = []
    while groups := queue.take(10):
        assert sum(map(len, groups)) <= 10
        parts += [rows for rows in groups if rows.request_ids == "batch"]
        assert queue.records == 25 - sum(map(len, parts))
        queue.give_back(groups)
    assert np.array_equal(np.concatenate([rows.X for rows in parts]), scored.X)
    assert [vehicle for rows in parts for vehicle in rows.vehicle_ids or ()] == list(scored.vehicle_ids or ())
    assert (queue.places, queue.records) == (0, 0)


def test_rows_wider_than_what_is_taken_at_once_still_come_out() -> None:
    """One at a time."""
    queue = PredictionQueue(1000)
    queue.many(batch(3, X=np.zeros((3, 1024))))
    assert [sum(map(len, queue.take(10))) for _ in range(4)] == [1, 1, 1, 0]


def test_nothing_comes_in_any_more_once_it_is_closed() -> None:
    """What waits can still be taken."""
    queue = PredictionQueue(10)
    put(queue, 1)
    queue.close()
    put(queue, 1)
    queue.many(batch(2))
    taken(queue)
    put(queue, 1)
    assert (queue.dropped, queue.records) == (4, 0)


def test_every_record_is_either_taken_or_counted_as_dropped() -> None:
    """While the loop, two threads and the writer are all at it."""
    queue = PredictionQueue(500)
    done = threading.Event()
    out: list[int] = []

    def batches() -> None:
        for _ in range(300):
            queue.many(batch(7))

    def write() -> None:
        while not done.is_set() or queue.records:
            out.append(sum(map(len, taken(queue, 50))))

    threads = [threading.Thread(target=batches) for _ in range(2)]
    writer = threading.Thread(target=write)
    for thread in (*threads, writer):
        thread.start()
    put(queue, 5000)
    for thread in threads:
        thread.join()
    done.set()
    writer.join()
    assert sum(out) + queue.dropped == 5000 + 2 * 300 * 7
    assert sum(out) > 500
    assert queue.places == 0
