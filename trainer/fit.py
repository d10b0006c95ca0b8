"""Fitting Isolation Forests: scikit-learn's trees, and its threshold by the kernel that will serve. PURE.

Nine tenths of ``IsolationForest.fit(contamination=...)`` on a large window is scoring the rows that it was fitted to,
of which the threshold is a percentile. Here the kernel scores them, to scikit-learn's last bit, and the estimator that
comes out is the one that scikit-learn alone would have made. Nothing here builds trees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from scoring.kernel import scorer
from trainer.export import export

ScoreSamples = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Hyperparameters:
    """What a forest is fitted with.

    Args:
        n_estimators: number of trees, at least 1.
        contamination: share of the training rows that are to come out as anomalous, above 0 and at most 0.5.
        seed: of all randomness.

    """

    n_estimators: int = 200
    contamination: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination must be above 0 and at most 0.5; got {self.contamination}")


@dataclass(frozen=True)
class Fitted:
    """A fitted forest.

    Args:
        estimator: as ``IsolationForest(contamination=...).fit(X)`` leaves it, to the last bit.
        scores: its decision function of the rows that it was fitted to, shape ``(n,)``.
        score_samples: as the estimator's method, by the fastest code there is here.

    """

    estimator: IsolationForest
    scores: NDArray[np.float64]
    score_samples: ScoreSamples

    def decision_function(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the estimator's method of this name returns for rows of shape ``(n, n_features)``."""
        scores: NDArray[np.float64] = self.score_samples(X) - self.estimator.offset_
        return scores


def fit(X: NDArray[np.float64], parameters: Hyperparameters) -> Fitted:
    """Fit a forest after Liu, Ting and Zhou (2008).

    Args:
        X: rows of shape ``(n, n_features)``, ``n`` at least 1, finite and within float32's range.
        parameters: what to fit with; the same rows and parameters give the same forest.

    """
    # "auto" ends with the trees; any other contamination goes on to score the rows.
    estimator = IsolationForest(
        n_estimators=parameters.n_estimators, contamination="auto", random_state=parameters.seed
    ).fit(X)
    score_samples = fastest_score_samples(estimator)
    scores = score_samples(X)
    _rescore_beside_threshold(estimator, X, scores, parameters.contamination)
    estimator.set_params(contamination=parameters.contamination)
    estimator.offset_ = np.percentile(scores, 100.0 * parameters.contamination)
    scores -= estimator.offset_
    return Fitted(estimator, scores, score_samples)


def fastest_score_samples(estimator: IsolationForest) -> ScoreSamples:
    """Return what does as ``estimator.score_samples``: the kernel, or that method where the kernel would be numpy."""
    names = tuple(map(str, range(estimator.n_features_in_)))
    # The decision function for an offset of 0 is what scikit-learn calls score_samples.
    kernel = scorer(replace(export(estimator, names, training_digest=""), offset=0.0))
    return estimator.score_samples if kernel.kernel == "numpy" else kernel.score


def _rescore_beside_threshold(
    estimator: IsolationForest, X: NDArray[np.float64], scores: NDArray[np.float64], contamination: float
) -> None:
    """Let scikit-learn score the two rows between which the threshold lies, in ``scores``.

    One of them may have a decision function of exactly 0, where the last bit is the label. Kernels are tested to give
    scikit-learn's bits; with this the threshold is scikit-learn's even on a machine where one fails to.
    """
    for side in ("lower", "higher"):
        row = int(np.argmax(scores == np.percentile(scores, 100.0 * contamination, method=side)))
        scores[row] = estimator.score_samples(X[row : row + 1])[0]


def seed_of(model: str, version: str) -> int:
    """Return the seed of a version: the same at every attempt, another for every version."""
    return int.from_bytes(f"{model} {version}".encode()[-16:], "big") % (2**32 - 1)
