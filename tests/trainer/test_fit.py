from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from trainer.fit import Hyperparameters, fit, seed_of


@pytest.mark.parametrize("n_rows", [1, 2, 300])
def test_a_fit_is_that_of_sklearn_and_warns_of_nothing(n_rows: int) -> None:
    X = np.random.default_rng(0).normal(size=(n_rows, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = fit(X, Hyperparameters(n_estimators=30, seed=11))
    theirs = IsolationForest(n_estimators=30, contamination=0.05, random_state=11).fit(X)
    assert ours.offset_ == theirs.offset_
    assert np.array_equal(ours.decision_function(X), theirs.decision_function(X))
    assert ours.get_params() == theirs.get_params()


def test_one_record_is_enough() -> None:
    forest = fit(np.array([[0.5, 0.3]]), Hyperparameters())
    assert forest.decision_function([[9.0, 9.0]]) == [0.0]


def test_a_seed_belongs_to_a_version_and_is_the_same_at_every_attempt() -> None:
    seeds = {seed_of("default", f"202401151000{second:02d}") for second in range(60)}
    assert len(seeds) == 60
    assert seed_of("default", "20240115100000") == seed_of("default", "20240115100000")
    assert all(0 <= seed < 2**32 for seed in seeds)
