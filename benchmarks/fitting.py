"""Fitting a forest to 1,000,000 x 8, against scikit-learn: `python -m benchmarks.fitting [ROUNDS]`.

Both run in turn in one thread on one core, and what counts is processor time. scikit-learn's is
`IsolationForest(contamination=0.05).fit(X)`; in each round the two estimators must be the same to the last bit.
"""

from __future__ import annotations

import json
import pickle
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from benchmarks.cores import choose_cores, on_core
from benchmarks.data_plane import WrongAnswer
from benchmarks.rounds import alternate, median_ratio
from trainer.fit import Hyperparameters, fit

ROWS, FEATURES = 1_000_000, 8
_PARAMETERS = Hyperparameters()


@dataclass(frozen=True)
class _Fit:
    seconds: float
    estimator: bytes

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s"


def run(rounds: int, say: Callable[[str], None]) -> dict[str, float]:
    """Return medians over the rounds; the ratio is taken within a round, and below 1 ours is faster."""
    X = np.random.default_rng(0).normal(size=(ROWS, FEATURES))
    contenders = {
        "telltale": _timer(lambda: fit(X, _PARAMETERS).estimator),
        "sklearn": _timer(lambda: _sklearn_fit(X)),
    }
    contenders["telltale"]()  # the first touches pages that the others find warm
    fits = alternate(contenders, rounds, say)
    for ours, theirs in zip(fits["telltale"], fits["sklearn"], strict=True):
        if ours.estimator != theirs.estimator:
            raise WrongAnswer("the fit gives another estimator than scikit-learn's")
    seconds = {name: [one.seconds for one in made] for name, made in fits.items()}
    return {
        "fit_seconds": statistics.median(seconds["telltale"]),
        "fit_sklearn_seconds": statistics.median(seconds["sklearn"]),
        "fit_ratio_to_sklearn": median_ratio(seconds["telltale"], seconds["sklearn"]),
    }


def _sklearn_fit(X: NDArray[np.float64]) -> IsolationForest:
    return IsolationForest(
        n_estimators=_PARAMETERS.n_estimators,
        contamination=_PARAMETERS.contamination,
        random_state=_PARAMETERS.seed,
    ).fit(X)


def _timer(make: Callable[[], IsolationForest]) -> Callable[[], _Fit]:
    """Return what measures one fit."""

    def measure() -> _Fit:
        start = time.process_time()
        estimator = make()
        seconds = time.process_time() - start
        return _Fit(seconds, pickle.dumps(estimator))

    return measure


if __name__ == "__main__":
    with on_core(choose_cores().server):
        figures = run(int(sys.argv[1]) if sys.argv[1:] else 5, lambda line: print(line, file=sys.stderr))
    json.dump(figures, sys.stdout, indent=1)
