"""What a training holds beside its window, by the bytes that each further row costs: constants cancel out."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from trainer.baseline import baseline
from trainer.dataset import Dataset, Rows, join
from trainer.evaluation import evaluate
from trainer.export import export
from trainer.fit import Fitted, Hyperparameters, fit
from trainer.plots import feature_ranges, flagged_over_time, score_histogram
from trainer.probe import probe_rows

FEW, MANY, WIDTH, BATCHES = 40_000, 80_000, 8, 10
ROW = 8 * (WIDTH + 1)  # bytes: the features and the time stamp
FEW_TREES = Hyperparameters(n_estimators=4)
# The window, a second one as float32 for scikit-learn, and what a tree keeps of every row that it might have drawn.
MOST = 2.0


def batches(rows: int) -> Iterator[Rows]:
    """Batches that exist only while they are copied, each older than the one before."""
    names = tuple(f"f{column}" for column in range(WIDTH))
    for number in range(BATCHES):
        stamps = np.arange(rows // BATCHES) - number * 86_400_000_000
        yield Rows(names, stamps, np.random.default_rng(number).normal(size=(len(stamps), WIDTH)))


class Trained:
    """The steps of a training on a window, each of which leaves what the next ones need."""

    data: Dataset
    fitted: Fitted

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def join(self) -> None:
        self.data = join(batches(self._rows), records=self._rows, capacity=self._rows)

    def fit(self) -> None:
        self.fitted = fit(self.data.X, FEW_TREES)

    def probe(self) -> None:
        forest = export(self.fitted.estimator, self.data.feature_names, training_digest=self.data.digest)
        self.fitted.estimator.decision_function(probe_rows(forest, self.data.X, 0))

    def evaluate(self) -> None:
        evaluate(self.fitted.scores, self.data, FEW_TREES)

    def draw(self) -> None:
        """Make the figures; what is drawn of them are some thousand points, whatever the window."""
        score_histogram(self.fitted.scores, "")
        flagged_over_time(self.data, self.fitted.scores, "")
        feature_ranges(self.data, self.fitted.scores, "")

    def describe(self) -> None:
        baseline(self.data)


STEPS: dict[str, Callable[[Trained], None]] = {
    "join": Trained.join,
    "fit": Trained.fit,
    "probe": Trained.probe,
    "evaluate": Trained.evaluate,
    "draw": Trained.draw,
    "describe": Trained.describe,
}


def peaks(rows: int) -> dict[str, int]:
    """Return the most bytes that were held at any moment of each step."""
    trained, result = Trained(rows), dict[str, int]()
    tracemalloc.start()
    try:
        for name, step in STEPS.items():
            gc.collect()  # figures refer to themselves
            tracemalloc.reset_peak()
            step(trained)
            result[name] = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return result


@pytest.fixture(scope="module")
def windows_held() -> dict[str, float]:
    """For each step the peak as a multiple of the window: what twice the rows cost more."""
    peaks(1_000)  # what is imported or cached once
    few, many = peaks(FEW), peaks(MANY)
    return {name: (many[name] - few[name]) / (MANY - FEW) / ROW for name in STEPS}


@pytest.mark.parametrize("step", STEPS)
def test_no_step_of_a_training_holds_more_than_two_windows(step: str, windows_held: dict[str, float]) -> None:
    assert 0.9 < windows_held[step] < MOST
