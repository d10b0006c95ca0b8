from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.trainer.conftest import batch
from trainer.baseline import baseline
from trainer.dataset import Dataset, join, rows_of
from trainer.evaluation import evaluate, rank_correlation
from trainer.export import export
from trainer.fit import Hyperparameters, fit
from trainer.plots import render
from trainer.probe import MOST_ROWS, probe_rows

HUGE = float(np.finfo(np.float32).max)
FEW_TREES = Hyperparameters(n_estimators=10)


def dataset(X: NDArray[np.float64]) -> Dataset:
    return join([rows_of(batch(X))], records=100_000, capacity=len(X))


AWKWARD = [
    pytest.param(np.array([[0.5, 0.3]]), id="one record"),
    pytest.param(np.array([[0.5], [0.4]]), id="two records"),
    pytest.param(np.full((40, 2), 7.0), id="constant"),
    pytest.param(np.linspace(-HUGE, HUGE, 60).reshape(30, 2), id="huge"),
    pytest.param(1e17 + 16 * np.arange(50.0).reshape(25, 2), id="large and close together"),
    pytest.param(np.tile([[1e-45, -1e-45, 0.0]], (30, 1)) * np.arange(30)[:, None], id="subnormal"),
    pytest.param(np.random.default_rng(0).normal(size=(64, 300)), id="300 features"),
]


@pytest.mark.parametrize("X", AWKWARD)
def test_every_dataset_can_be_evaluated_described_and_drawn(X: NDArray[np.float64]) -> None:
    data = dataset(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit(data.X, FEW_TREES)
        evaluation = evaluate(fitted.scores, data, FEW_TREES)
        described = baseline(data)
        plots = render(data, fitted.scores, "default 20240115100000")
        rows = probe_rows(export(fitted.estimator, data.feature_names, training_digest=data.digest), data.X, 1)
    assert all(np.isfinite(value) for value in evaluation.metrics.values())
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert all(png.startswith(b"\x89PNG") for png in plots.values())
    assert np.all(np.isfinite(rows))
    assert np.all(np.abs(rows) <= HUGE)
    assert 1 <= len(rows) <= MOST_ROWS


def test_too_few_records_are_not_evaluated_and_a_warning_says_so() -> None:
    data = dataset(np.random.default_rng(0).normal(size=(19, 2)))
    evaluation = evaluate(fit(data.X, FEW_TREES).scores, data, FEW_TREES)
    assert not any(name.startswith("holdout") for name in evaluation.metrics)
    assert "19 records are too few" in evaluation.warnings[0]


def test_the_newest_fifth_is_held_out() -> None:
    X = np.random.default_rng(0).normal(size=(100, 2))
    X[80:] += 40  # the fleet changes in the newest fifth, which only a held-out part can show
    data = dataset(X)
    metrics = evaluate(fit(data.X, FEW_TREES).scores, data, FEW_TREES).metrics
    assert metrics["holdout_flag_rate"] == 1.0
    assert metrics["training_flag_rate"] <= 0.06


def test_rank_correlation_is_spearmans_with_ties_shared() -> None:
    a, b = np.array([1.0, 2.0, 2.0, 3.0, 9.0]), np.array([1.0, 5.0, 4.0, 4.0, 8.0])
    assert rank_correlation(a, b) == pytest.approx(0.7632, abs=1e-4)
    assert rank_correlation(a, a**3) == pytest.approx(1.0)
    assert rank_correlation(a, -a) == pytest.approx(-1.0)
    assert rank_correlation(a, np.zeros(5)) == 0.0


@given(st.lists(st.floats(-HUGE, HUGE, allow_nan=False), min_size=1, max_size=60))
def test_a_histogram_counts_every_record_once(numbers: list[float]) -> None:
    described = baseline(dataset(np.array(numbers)[:, None]))
    features = described["features"]
    assert isinstance(features, dict)
    histogram = features["f0"]["histogram"]
    assert sum(histogram["counts"]) == len(numbers)
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1


def test_probe_rows_stand_on_thresholds_of_their_own_feature() -> None:
    X = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 1e3, 1e6]
    forest = export(fit(X, FEW_TREES).estimator, ("a", "b", "c"), training_digest="")
    rows = probe_rows(forest, X, 5)
    assert len(rows) == MOST_ROWS
    for column in range(3):
        own = forest.threshold[forest.feature == column]
        assert np.isin(rows[128:, column].astype(np.float32), own).sum() > 30
    assert np.array_equal(rows, probe_rows(forest, X, 5))
