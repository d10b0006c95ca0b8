from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from contract.digests import digest_of
from contract.forest_file import Forest, check_structure, decode_forest, encode_forest
from scoring.reference import decision_function
from trainer.export import average_path_length, export, round_down

Rows = NDArray[np.float64]

# The largest float32: what telemetry may hold at most.
HUGE = float(np.finfo(np.float32).max)


def fitted(X: Rows, *, trees: int = 20, contamination: float = 0.05, **more: object) -> IsolationForest:
    return IsolationForest(n_estimators=trees, contamination=contamination, random_state=7, **more).fit(X)


def exported(forest: IsolationForest) -> Forest:
    names = tuple(f"f{i}" for i in range(forest.n_features_in_))
    return export(forest, names, training_digest="sha256:0")


def rows_on_thresholds(forest: IsolationForest, X: Rows, generator: np.random.Generator, n: int = 200) -> Rows:
    """Rows that sit on thresholds of their very feature: equal, beside as float32, and beside as float64."""
    rows = X[generator.integers(len(X), size=n)].copy()
    trees = [estimator.tree_ for estimator in forest.estimators_]
    feature = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])[feature >= 0]
    feature = feature[feature >= 0]
    if not len(feature):
        return rows
    for row in rows:
        node = generator.integers(len(feature), size=3)
        for column, value in zip(feature[node], threshold[node], strict=True):
            row[column] = _beside(value, int(generator.integers(7)))
    return np.clip(rows, -HUGE, HUGE)


def _beside(threshold: float, how: int) -> float:
    near = np.float32(threshold)
    down, up = np.float32(-np.inf), np.float32(np.inf)
    return (
        threshold,
        float(np.nextafter(threshold, -np.inf)),
        float(np.nextafter(threshold, np.inf)),
        float(near),
        float(np.nextafter(near, down)),
        float(np.nextafter(near, up)),
        (float(near) + float(np.nextafter(near, up))) / 2,
    )[how]


def assert_equal_to_sklearn(forest: IsolationForest, X: Rows) -> None:
    ours, theirs = decision_function(exported(forest), X), forest.decision_function(X)
    assert np.array_equal(ours < 0, theirs < 0)
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("n_features", [1, 2, 8, 200])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 257, 2_000])
def test_scores_are_those_of_sklearn_to_the_last_bit(n_rows: int, n_features: int) -> None:
    generator = np.random.default_rng(n_rows * n_features)
    X = generator.normal(size=(n_rows, n_features))
    forest = fitted(X)
    assert_equal_to_sklearn(forest, X)
    assert_equal_to_sklearn(forest, rows_on_thresholds(forest, X, generator))


@pytest.mark.parametrize("trees", [1, 500])
def test_one_tree_and_many_trees_score_alike(trees: int) -> None:
    generator = np.random.default_rng(trees)
    X = generator.normal(size=(300, 4))
    forest = fitted(X, trees=trees)
    assert_equal_to_sklearn(forest, np.concatenate([X, rows_on_thresholds(forest, X, generator)]))


@pytest.mark.parametrize(
    "X",
    [
        pytest.param(np.full((50, 3), 4.2), id="constant"),
        pytest.param(np.repeat([[1.0, 2.0], [1.0, 3.0]], 40, axis=0), id="duplicated"),
        pytest.param(np.column_stack([np.arange(60.0), np.zeros(60)]), id="one constant column"),
        pytest.param(np.linspace(-HUGE, HUGE, 80).reshape(40, 2), id="as large as float32 goes"),
        pytest.param(np.linspace(1e-45, 1e-38, 64).reshape(32, 2), id="subnormal"),
        pytest.param(1e9 + np.arange(90.0).reshape(30, 3), id="closer than float32 can tell"),
        pytest.param(np.array([[-0.0, 0.0]] * 5 + [[0.0, -0.0]] * 5), id="signed zeros"),
    ],
)
def test_degenerate_rows_score_alike(X: Rows) -> None:
    forest = fitted(X)
    assert_equal_to_sklearn(forest, np.concatenate([X, rows_on_thresholds(forest, X, np.random.default_rng(0))]))


def test_the_row_that_sets_the_offset_scores_exactly_zero_and_is_normal() -> None:
    X = np.random.default_rng(3).normal(size=(101, 5))
    scores = decision_function(exported(fitted(X)), X)
    assert np.sum(scores == 0.0) == 1
    assert np.sum(scores < 0) == 5


def test_columns_drawn_for_each_tree_keep_their_place() -> None:
    X = np.random.default_rng(4).normal(size=(200, 10))
    assert_equal_to_sklearn(fitted(X, max_features=0.4), X)


values = st.one_of(
    st.floats(-1e3, 1e3, width=32),
    st.floats(-HUGE, HUGE, allow_nan=False),
    st.sampled_from([0.0, -0.0, 1.0, 1e-45, 1e38, -1e38]),
)


@st.composite
def training_rows(draw: st.DrawFn) -> Rows:
    """Up to 40 rows of up to 6 features, mostly hypothesis's own; the rest are repeats of them."""
    width = draw(st.integers(1, 6))
    distinct = draw(st.lists(st.lists(values, min_size=width, max_size=width), min_size=1, max_size=12))
    repeats = draw(st.lists(st.integers(0, len(distinct) - 1), max_size=28))
    return np.array(distinct + [distinct[i] for i in repeats], dtype=np.float64)


@given(X=training_rows(), trees=st.integers(1, 12), seed=st.integers(0, 2**16))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_rows_score_alike(X: Rows, trees: int, seed: int) -> None:
    forest = fitted(X, trees=trees)
    generator = np.random.default_rng(seed)
    assert_equal_to_sklearn(forest, np.concatenate([X, rows_on_thresholds(forest, X, generator, 40)]))


@given(trees=st.sampled_from([1, 2, 63, 199, 500]), width=st.sampled_from([1, 3, 40, 200]), seed=st.integers(0, 99))
@settings(max_examples=12, deadline=None)
def test_any_shape_scores_alike(trees: int, width: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    X = np.exp(generator.normal(size=(120, width)) * 4)
    forest = fitted(X, trees=trees)
    assert_equal_to_sklearn(forest, np.concatenate([X[:60], rows_on_thresholds(forest, X, generator, 60)]))


@given(st.lists(st.floats(-HUGE, HUGE, allow_nan=False), min_size=1))
def test_rounding_down_gives_the_greatest_float32_that_is_not_above(numbers: list[float]) -> None:
    exact = np.array(numbers)
    rounded = round_down(exact)
    assert np.all(rounded.astype(np.float64) <= exact)
    with np.errstate(over="ignore"):
        assert np.all(np.nextafter(rounded, np.float32(np.inf)).astype(np.float64) > exact)


def test_the_exported_forest_is_safe_to_walk_and_survives_its_file() -> None:
    X = np.random.default_rng(5).normal(size=(400, 6))
    forest = exported(fitted(X))
    check_structure(forest)
    data = encode_forest(forest)
    again = decode_forest(data, digest=digest_of(data))
    assert np.array_equal(decision_function(again, X), decision_function(forest, X))
    assert again.libraries.keys() == {"numpy", "scikit-learn"}


def test_path_lengths_of_small_samples_are_those_of_the_paper() -> None:
    assert [average_path_length(n) for n in (0, 1, 2)] == [0.0, 0.0, 1.0]
    assert average_path_length(256) == pytest.approx(10.2448, abs=1e-4)
