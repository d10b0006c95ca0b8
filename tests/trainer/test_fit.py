"""Fitting, held against scikit-learn's own ``fit(contamination=...)``: the estimators are the same to the last bit."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from scoring.kernel import Scorer
from trainer import fit as module
from trainer.fit import Fitted, Hyperparameters, fit, seed_of

Rows = NDArray[np.float64]
HUGE = float(np.finfo(np.float32).max)


def sklearn_fit(X: Rows, parameters: Hyperparameters) -> IsolationForest:
    return IsolationForest(
        n_estimators=parameters.n_estimators, contamination=parameters.contamination, random_state=parameters.seed
    ).fit(X)


def assert_identical(ours: Fitted, theirs: IsolationForest, X: Rows) -> None:
    """The pickles hold everything: parameters, seeds, columns, every node of every tree, and the offset."""
    assert pickle.dumps(ours.estimator) == pickle.dumps(theirs)
    expected = theirs.decision_function(X)
    assert ours.scores.tobytes() == expected.tobytes()
    assert ours.decision_function(X).tobytes() == expected.tobytes()


def check(X: Rows, parameters: Hyperparameters) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = fit(X, parameters)
    assert_identical(ours, sklearn_fit(X, parameters), X)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 2])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 255, 256, 257, 5_000])
def test_a_fit_is_that_of_sklearn_and_warns_of_nothing(n_rows: int, seed: int) -> None:
    X = np.random.default_rng(n_rows).normal(size=(n_rows, 8))
    check(X, Hyperparameters(n_estimators=30, seed=seed))


@pytest.mark.parametrize("contamination", [1e-9, 0.001, 0.05, 0.1, 1 / 3, 0.5])
def test_every_contamination_gives_the_offset_of_sklearn(contamination: float) -> None:
    X = np.random.default_rng(1).normal(size=(1_001, 3))
    check(X, Hyperparameters(n_estimators=20, contamination=contamination, seed=4))


@pytest.mark.parametrize(
    "X",
    [
        pytest.param(np.full((300, 3), 4.2), id="constant"),
        pytest.param(np.column_stack([np.arange(300.0), np.zeros(300)]), id="one constant column"),
        pytest.param(np.repeat([[1.0, 2.0], [1.0, 3.0]], 200, axis=0), id="two rows, repeated"),
        pytest.param(np.linspace(-HUGE, HUGE, 800).reshape(400, 2), id="as large as float32 goes"),
        pytest.param(np.linspace(1e-45, 1e-38, 640).reshape(320, 2), id="subnormal"),
        pytest.param(1e9 + np.arange(900.0).reshape(300, 3), id="closer than float32 can tell"),
        pytest.param(np.random.default_rng(0).normal(size=(300, 1_024)), id="as many features as a model may have"),
    ],
)
def test_a_fit_to_degenerate_rows_is_that_of_sklearn(X: Rows) -> None:
    check(X, Hyperparameters(n_estimators=10, contamination=0.2, seed=3))


DATA: dict[str, Callable[[np.random.Generator, tuple[int, int]], Rows]] = {
    "ordinary": lambda rng, shape: rng.normal(size=shape),
    "constant columns": lambda rng, shape: np.where(np.arange(shape[1]) % 2, 3.5, rng.normal(size=shape)),
    "few distinct values": lambda rng, shape: rng.integers(0, 3, size=shape).astype(np.float64),
    "duplicated rows": lambda rng, shape: rng.choice(rng.normal(size=(1 + shape[0] // 10, shape[1])), size=shape[0]),
    "huge and tiny": lambda rng, shape: rng.normal(size=shape) * 10.0 ** rng.integers(-30, 30, size=shape[1]),
}


@given(
    kind=st.sampled_from(sorted(DATA)),
    n=st.integers(1, 700),
    width=st.integers(1, 12),
    trees=st.integers(1, 15),
    contamination=st.floats(0, 0.5, exclude_min=True) | st.sampled_from([0.05, 0.1, 0.25, 0.5]),
    seed=st.integers(0, 2**32 - 2),
)
@settings(max_examples=80, deadline=None)
def test_any_fit_is_that_of_sklearn(kind: str, n: int, width: int, trees: int, contamination: float, seed: int) -> None:
    X = DATA[kind](np.random.default_rng(seed), (n, width))
    check(X, Hyperparameters(n_estimators=trees, contamination=contamination, seed=seed))


@given(n=st.integers(3, 400), seed=st.integers(0, 2**16), contamination=st.sampled_from([0.01, 0.05, 0.1, 0.5]))
@settings(max_examples=40, deadline=None)
def test_no_label_flips_at_the_threshold(n: int, seed: int, contamination: float) -> None:
    """Rows on the threshold itself, and rows moved onto the trees' own thresholds or right beside them."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 40, size=(n, 3)) / 8.0
    parameters = Hyperparameters(n_estimators=8, contamination=contamination, seed=seed)
    ours, theirs = fit(X, parameters), sklearn_fit(X, parameters)
    rows = np.concatenate([X, beside_thresholds(theirs, X, rng)])
    assert np.array_equal(ours.decision_function(rows) < 0, theirs.predict(rows) == -1)
    assert np.array_equal(ours.estimator.predict(rows), theirs.predict(rows))


def beside_thresholds(forest: IsolationForest, X: Rows, rng: np.random.Generator) -> Rows:
    trees = [estimator.tree_ for estimator in forest.estimators_]
    feature = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])[feature >= 0]
    feature = feature[feature >= 0]
    if not len(feature):
        return X
    rows = X[rng.integers(len(X), size=100)].copy()
    node = rng.integers(len(feature), size=100)
    near, down, up = threshold[node].astype(np.float32), np.float32(-HUGE), np.float32(HUGE)
    choices = np.stack([threshold[node], near, np.nextafter(near, down), np.nextafter(near, up)])
    rows[np.arange(100), feature[node]] = choices[rng.integers(4, size=100), np.arange(100)]
    return rows


def test_with_a_whole_rank_one_row_is_on_the_threshold_and_is_normal() -> None:
    X = np.random.default_rng(3).normal(size=(101, 5))
    scores = fit(X, Hyperparameters(n_estimators=50)).scores
    assert np.sum(scores == 0.0) == 1
    assert np.sum(scores < 0) == 5


class OneBitOff:
    """A kernel whose every score is the next double above."""

    kernel = "c"

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def score(self, X: Rows) -> Rows:
        return np.nextafter(self._scorer.score(X), np.inf)


@pytest.mark.parametrize("n_rows", [100, 101])  # the threshold lies between two rows, and on one
def test_the_offset_is_that_of_sklearn_even_where_a_kernel_is_a_bit_off(
    n_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.scorer
    monkeypatch.setattr(module, "scorer", lambda forest: OneBitOff(real(forest)))
    X = np.random.default_rng(0).normal(size=(n_rows, 4))
    parameters = Hyperparameters(n_estimators=25)
    ours, theirs = fit(X, parameters), sklearn_fit(X, parameters)
    assert not np.array_equal(ours.decision_function(X), theirs.decision_function(X))
    assert ours.estimator.offset_ == theirs.offset_
    assert np.array_equal(ours.scores < 0, theirs.predict(X) == -1)


def test_without_a_fast_kernel_scikit_learn_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.scorer
    monkeypatch.setattr(module, "scorer", lambda forest: real(forest, kernel="numpy"))
    X = np.random.default_rng(0).normal(size=(500, 4))
    parameters = Hyperparameters(n_estimators=25)
    ours = fit(X, parameters)
    assert ours.score_samples == ours.estimator.score_samples
    assert_identical(ours, sklearn_fit(X, parameters), X)


def test_the_training_rows_are_scored_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    by_sklearn: list[int] = []
    real = IsolationForest._score_samples

    def score_samples(self: IsolationForest, X: Rows) -> Rows:
        by_sklearn.append(len(X))
        return np.asarray(real(self, X))

    X = np.random.default_rng(0).normal(size=(3_000, 4))
    monkeypatch.setattr(IsolationForest, "_score_samples", score_samples)
    fit(X, Hyperparameters(n_estimators=25)).decision_function(X)
    assert by_sklearn == [1, 1]
    sklearn_fit(X, Hyperparameters(n_estimators=25))
    assert by_sklearn == [1, 1, 3_000]  # or else nothing above would have been noticed


def test_the_rows_are_left_as_they_were() -> None:
    X = np.random.default_rng(0).normal(size=(400, 4))
    before = X.copy()
    fit(X, Hyperparameters(n_estimators=5))
    assert np.array_equal(X, before)


@pytest.mark.parametrize("contamination", [0.0, -0.1, 0.51, float("nan")])
def test_a_contamination_that_sklearn_would_refuse_is_refused(contamination: float) -> None:
    with pytest.raises(ValueError, match="contamination"):
        Hyperparameters(contamination=contamination)


def test_one_record_is_enough() -> None:
    fitted = fit(np.array([[0.5, 0.3]]), Hyperparameters())
    assert fitted.decision_function(np.array([[9.0, 9.0]])) == [0.0]


def test_a_seed_belongs_to_a_version_and_is_the_same_at_every_attempt() -> None:
    seeds = {seed_of("default", f"202401151000{second:02d}") for second in range(60)}
    assert len(seeds) == 60
    assert seed_of("default", "20240115100000") == seed_of("default", "20240115100000")
    assert all(0 <= seed < 2**32 for seed in seeds)
