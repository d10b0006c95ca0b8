from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.columns import Batch
from tests.trainer.conftest import NOW, batch
from trainer.dataset import Dataset, Rows, join, rows_of

DAY = 86_400_000_000


def joined(*batches: Batch, records: int) -> Dataset:
    return join(map(rows_of, batches), records=records, capacity=sum(map(len, batches)))


def test_the_newest_batch_is_whole_even_beyond_the_bound() -> None:
    newest, older = batch(np.zeros((5, 1))), batch(np.ones((5, 1)))
    assert joined(newest, older, records=3).X.tolist() == [[0.0]] * 5


def test_what_is_left_of_the_bound_goes_to_the_most_recent_earlier_records() -> None:
    newest = batch(np.array([[0.0]]), start=NOW + timedelta(hours=2))
    middle = batch(np.array([[3.0], [4.0]]), start=NOW + timedelta(hours=1))
    oldest = batch(np.array([[1.0], [2.0]]))
    assert joined(newest, middle, oldest, records=4).X.ravel().tolist() == [2.0, 3.0, 4.0, 0.0]


def test_rows_come_in_the_order_of_time() -> None:
    late, early = batch(np.array([[2.0]]), start=NOW + timedelta(days=1)), batch(np.array([[1.0]]))
    assert joined(early, late, records=10).X.ravel().tolist() == [1.0, 2.0]


def test_rows_of_one_time_stay_in_the_order_in_which_they_came() -> None:
    assert joined(batch(np.array([[2.0]])), batch(np.array([[1.0]])), records=2).X.ravel().tolist() == [1.0, 2.0]


def test_memory_for_batches_that_do_not_come_is_not_part_of_the_window() -> None:
    data = join([rows_of(batch(np.array([[1.0], [2.0]])))], records=10, capacity=9)
    assert data.X.ravel().tolist() == [1.0, 2.0]
    assert len(data.timestamps) == 2


@given(
    batches=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=6),
    records=st.integers(1, 40),
    width=st.integers(1, 3),
)
def test_a_window_is_the_newest_batch_and_the_latest_of_the_others_in_order(
    batches: list[list[int]], records: int, width: int
) -> None:
    """Whatever the order of time stamps, against the same said of lists."""
    number = iter(range(1_000))
    rows = [[(stamp, next(number)) for stamp in stamps] for stamps in batches]  # oldest batch first, as they came
    came, newest = [row for one in rows[:-1] for row in one], rows[-1]
    room = max(0, records - len(newest))
    latest = sorted(came, key=lambda row: row[0])[len(came) - min(room, len(came)) :]
    expected = sorted([*latest, *newest], key=lambda row: (row[0], row[1]))
    given_rows = [
        Rows(
            tuple(f"f{i}" for i in range(width)),
            np.array([stamp for stamp, _ in one], np.int64),
            np.array([[value + 1_000.0 * i for i in range(width)] for _, value in one]),
        )
        for one in reversed(rows)
    ]
    data = join(given_rows, records=records, capacity=sum(map(len, rows)))
    assert data.timestamps.tolist() == [stamp for stamp, _ in expected]
    assert data.X.tolist() == [[value + 1_000.0 * i for i in range(width)] for _, value in expected]
    assert data.X.flags.c_contiguous


def test_the_batches_are_left_as_they_were() -> None:
    late, early = batch(np.arange(6.0)[:, None], start=NOW + timedelta(minutes=3)), batch(np.arange(6.0)[:, None])
    joined(early, late, records=9)
    assert late.X.ravel().tolist() == early.X.ravel().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


ROWS, WIDTH, BATCHES = 5_000, 8, 10


def streamed(*, backwards: bool) -> Iterator[Rows]:
    """Batches that exist only while they are copied, newest first, in the order of time or all against it."""
    for place in range(BATCHES):
        stamps = np.arange(ROWS) + DAY * (place if backwards else -place)
        yield Rows(tuple("abcdefgh"), stamps, np.full((ROWS, WIDTH), float(place)))


@pytest.mark.parametrize("backwards", [False, True], ids=["in the order of time", "against it"])
def test_a_window_is_joined_in_the_memory_of_one(backwards: bool) -> None:
    window = BATCHES * ROWS * (WIDTH + 1) * 8
    tracemalloc.start()
    try:
        data = join(streamed(backwards=backwards), records=BATCHES * ROWS, capacity=BATCHES * ROWS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert data.X[0, 0] == (0.0 if backwards else BATCHES - 1)
    assert window < peak < 1.5 * window


def test_the_digest_is_of_names_times_and_rows() -> None:
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    same = joined(batch(rows), records=10).digest
    assert same == joined(batch(rows.copy()), records=10).digest
    assert same != joined(batch(rows + 1e-12), records=10).digest
    assert same != joined(batch(rows, start=NOW + timedelta(seconds=1)), records=10).digest
    assert same != joined(batch(rows.reshape(4, 1)), records=10).digest
    assert same == "sha256:f26856f0d4e3893dbc143b78993212ad5380131ae81a0714c70abb4523a2c8bd"
