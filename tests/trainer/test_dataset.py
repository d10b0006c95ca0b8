from __future__ import annotations

from datetime import timedelta

import numpy as np

from tests.trainer.conftest import NOW, batch
from trainer.dataset import join


def test_the_newest_batch_is_whole_even_beyond_the_bound() -> None:
    newest, older = batch(np.zeros((5, 1))), batch(np.ones((5, 1)))
    assert join([newest, older], records=3).X.tolist() == [[0.0]] * 5


def test_what_is_left_of_the_bound_goes_to_the_most_recent_earlier_records() -> None:
    newest = batch(np.array([[0.0]]), start=NOW + timedelta(hours=2))
    middle = batch(np.array([[3.0], [4.0]]), start=NOW + timedelta(hours=1))
    oldest = batch(np.array([[1.0], [2.0]]))
    assert join([newest, middle, oldest], records=4).X.ravel().tolist() == [2.0, 3.0, 4.0, 0.0]


def test_rows_come_in_the_order_of_time() -> None:
    late, early = batch(np.array([[2.0]]), start=NOW + timedelta(days=1)), batch(np.array([[1.0]]))
    assert join([early, late], records=10).X.ravel().tolist() == [1.0, 2.0]


def test_the_digest_is_of_names_times_and_rows() -> None:
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    same = join([batch(rows)], records=10).digest
    assert same == join([batch(rows.copy())], records=10).digest
    assert same != join([batch(rows + 1e-12)], records=10).digest
    assert same != join([batch(rows, start=NOW + timedelta(seconds=1))], records=10).digest
    assert same != join([batch(rows.reshape(4, 1))], records=10).digest
    assert same.startswith("sha256:")
