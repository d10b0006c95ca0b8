"""Parity with scikit-learn itself is shown in tests/trainer/test_export.py, where forests are made from it."""

from __future__ import annotations

import numpy as np
import pytest

from contract.forest_file import Forest
from scoring.reference import decision_function
from tests.contract.test_forest_file import forest


def two_trees() -> Forest:
    return forest(
        threshold=np.array([0.5, 0, 0, 0], np.float32),
        feature=np.array([1, -1, -1, -1], np.int32),
        child=np.array([1, 0, 0, 0], np.int32),
        leaf_value=np.array([0, 1.0, 2.0, 0.25]),
        root=np.array([0, 3], np.int32),
        normalizer=2.0,
    )


def test_path_lengths_add_up_over_the_trees() -> None:
    scores = decision_function(two_trees(), np.array([[9.0, 0.5], [9.0, 0.6]]))
    np.testing.assert_array_equal(scores, [-(2 ** (-1.25 / 2)) + 0.5, -(2 ** (-2.25 / 2)) + 0.5])


def test_rows_are_cast_to_float32_before_they_are_compared() -> None:
    just_above = np.nextafter(0.5, 1)  # a double that float32 rounds to 0.5, which goes left
    assert decision_function(two_trees(), np.array([[0, just_above]])) == decision_function(
        two_trees(), np.array([[0, 0.5]])
    )


def test_a_model_of_one_record_scores_every_row_alike() -> None:
    np.testing.assert_array_equal(decision_function(forest(normalizer=0.0), np.zeros((3, 2))), [0.0, 0.0, 0.0])


def test_blocks_do_not_show() -> None:
    X = np.random.default_rng(0).normal(size=(1000, 2))
    whole = decision_function(two_trees(), X)
    np.testing.assert_array_equal(whole, np.concatenate([decision_function(two_trees(), row[None]) for row in X]))


def test_no_rows_give_no_scores() -> None:
    assert decision_function(two_trees(), np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 1, 2)])
def test_rows_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rows of 2 features"):
        decision_function(two_trees(), np.zeros(shape))
