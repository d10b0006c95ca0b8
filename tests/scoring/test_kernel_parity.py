"""Parity with scikit-learn itself: its numbers to 1e-12 and its labels exactly, on ordinary and on degenerate data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from contract.forest_file import Forest
from scoring.kernel import kernels, scorer
from tests.scoring.forests import rows_near
from trainer.export import export


def fitted(X: NDArray[np.float64], n_estimators: int, **options: Any) -> tuple[IsolationForest, Forest]:
    made = IsolationForest(n_estimators=n_estimators, contamination=0.05, random_state=0, **options).fit(X)
    return made, export(made, tuple(f"f{i}" for i in range(X.shape[1])), training_digest="sha256:00")


def assert_parity(theirs: IsolationForest, ours: Forest, X: NDArray[np.float64]) -> None:
    expected = theirs.decision_function(X)
    for kernel in kernels():
        made = scorer(ours, kernel=kernel)
        for scores in (made.score(X), np.array([made.score_record(row) for row in X.tolist()])):
            np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)
            np.testing.assert_array_equal(scores < 0, expected < 0)


DATA: dict[str, Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]] = {
    "ordinary": lambda rng, shape: rng.normal(size=shape),
    "constant columns": lambda rng, shape: np.where(np.arange(shape[1]) % 2, 3.5, rng.normal(size=shape)),
    "all constant": lambda rng, shape: np.full(shape, rng.normal()),
    "few distinct values": lambda rng, shape: rng.integers(0, 3, size=shape).astype(np.float64),
    "duplicates": lambda rng, shape: rng.choice(rng.normal(size=(1 + shape[0] // 10, shape[1])), size=shape[0]),
    "huge and tiny": lambda rng, shape: rng.normal(size=shape) * 10.0 ** rng.integers(-30, 30, size=shape[1]),
    "beyond float32's digits": lambda rng, shape: 1e6 + rng.normal(size=shape) * 1e-3,
}


@pytest.mark.parametrize("name", DATA)
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.sampled_from([1, 2, 3]) | st.integers(4, 600),
    columns=st.integers(1, 200),
    n_estimators=st.sampled_from([1, 2, 9, 10, 11, 40]),
)
def test_degenerate_data_score_as_in_scikit_learn(
    name: str, seed: int, n: int, columns: int, n_estimators: int
) -> None:
    X = DATA[name](np.random.default_rng(seed), (n, columns))
    theirs, ours = fitted(X, n_estimators)
    assert_parity(theirs, ours, np.concatenate([X[:60], rows_near(ours, 60, seed)]))


@pytest.mark.parametrize(
    ("n_estimators", "columns", "options"),
    [
        (200, 8, {}),
        (500, 8, {}),
        (500, 1, {}),
        (100, 200, {}),
        (100, 8, {"max_features": 0.5, "bootstrap": True}),
        (50, 4, {"max_samples": 1.0}),
        (50, 4, {"max_samples": 2}),
    ],
)
def test_any_forest_scores_as_in_scikit_learn(n_estimators: int, columns: int, options: dict[str, Any]) -> None:
    X = np.random.default_rng(n_estimators).normal(size=(2000, columns))
    theirs, ours = fitted(X, n_estimators, **options)
    assert_parity(theirs, ours, np.concatenate([X[:300], rows_near(ours, 300, columns)]))


def test_the_row_that_set_the_offset_is_not_flagged() -> None:
    X = np.random.default_rng(0).normal(size=(1000, 5))
    theirs, ours = fitted(X, 200)
    on_the_edge = theirs.decision_function(X) == 0
    for kernel in kernels():
        scores = scorer(ours, kernel=kernel).score(X)
        np.testing.assert_array_equal(scores == 0, on_the_edge)
        np.testing.assert_array_equal(scores < 0, theirs.predict(X) == -1)
