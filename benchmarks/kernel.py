"""The scoring kernel in process, against scikit-learn and the numpy reference: `python -m benchmarks.kernel [ROUNDS]`.

One record is a Python list of floats, as a request's is; 100,000 rows are one array. Records differ from call to call,
so that no branch predictor or cache learns the one. All run in turn on one core, and scikit-learn in one thread.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from benchmarks.cores import choose_cores, on_core
from benchmarks.rounds import alternate, median_ratio
from scoring.kernel import Scorer, scorer
from trainer.export import export
from trainer.fit import Hyperparameters, fit

TRAINING_ROWS, FEATURES, BATCH_ROWS = 20_000, 8, 100_000
# Calls a round: some milliseconds of the fast, and no more of the slow than is needed.
_CALLS = {"kernel": 5_000, "numpy": 20, "sklearn": 5}


def run(rounds: int = 9) -> dict[str, float]:
    """Return medians over the rounds; ratios are taken within a round, and above 1 the kernel is faster."""
    theirs, kernel, reference = _subjects()
    X = np.random.default_rng(1).normal(size=(BATCH_ROWS, FEATURES)).round(6)
    records = {
        "kernel": _record_timer(kernel.score_record, X.tolist(), _CALLS["kernel"]),
        "numpy": _record_timer(reference.score_record, X.tolist(), _CALLS["numpy"]),
        "sklearn": _record_timer(theirs.decision_function, list(X[:, None]), _CALLS["sklearn"]),
    }
    batches = {
        "kernel": _batch_timer(kernel.score, X),
        "numpy": _batch_timer(reference.score, X),
        "sklearn": _batch_timer(theirs.decision_function, X),
    }
    for warm_up in (*records.values(), batches["kernel"]):
        warm_up()
    record = alternate(records, rounds, _say, lambda seconds: f"{1e6 * seconds:,.2f} us/record")
    batch = alternate(batches, rounds, _say, lambda seconds: f"{BATCH_ROWS / seconds:,.0f} rows/s")
    return {
        "record_in_process_us": 1e6 * statistics.median(record["kernel"]),
        "record_ratio_to_sklearn": median_ratio(record["sklearn"], record["kernel"]),
        "record_ratio_to_numpy": median_ratio(record["numpy"], record["kernel"]),
        "batch_rows_per_s": BATCH_ROWS / statistics.median(batch["kernel"]),
        "batch_ratio_to_sklearn": median_ratio(batch["sklearn"], batch["kernel"]),
        "batch_ratio_to_numpy": median_ratio(batch["numpy"], batch["kernel"]),
    }


def _subjects() -> tuple[IsolationForest, Scorer, Scorer]:
    """Return scikit-learn's forest and ours by the kernel and by numpy; all must give the same scores."""
    X = np.random.default_rng(0).normal(size=(TRAINING_ROWS, FEATURES)).round(6)
    theirs = fit(X, Hyperparameters()).estimator
    forest = export(theirs, tuple(f"f{position}" for position in range(FEATURES)), training_digest="sha256:00")
    kernel, reference = scorer(forest), scorer(forest, kernel="numpy")
    expected = theirs.decision_function(X[:1000])
    for scores in (kernel.score(X[:1000]), reference.score(X[:1000])):
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)
    _say(f"kernel: {kernel.kernel}")
    return theirs, kernel, reference


def _record_timer(score: Callable[[Any], object], records: Sequence[Any], calls: int) -> Callable[[], float]:
    """Return what measures the seconds of one call, over other records each time."""
    endless = cycle(records)

    def measure() -> float:
        some = [next(endless) for _ in range(calls)]
        start = time.perf_counter()
        for record in some:
            score(record)
        return (time.perf_counter() - start) / calls

    return measure


def _batch_timer(score: Callable[[NDArray[np.float64]], object], X: NDArray[np.float64]) -> Callable[[], float]:
    """Return what measures the seconds of scoring ``X`` once."""

    def measure() -> float:
        start = time.perf_counter()
        score(X)
        return time.perf_counter() - start

    return measure


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    with on_core(choose_cores().server):
        json.dump(run(*(int(argument) for argument in sys.argv[1:])), sys.stdout, indent=1)
