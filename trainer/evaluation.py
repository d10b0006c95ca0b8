"""How good a model is, judged on rows that a second forest did not see. PURE.

The newest fifth of the window is held out, because a model meets tomorrow's rows, not a shuffled past. A forest fitted
to the older rows scores it: a flag rate far from the contamination says that the fleet has changed, and a low rank
correlation with the model that was trained on everything says that more data are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainer.dataset import Dataset
from trainer.fit import Hyperparameters, fit

HOLDOUT_SHARE = 0.2


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name (as MLflow shows them), and what could not be judged."""

    metrics: dict[str, float]
    warnings: list[str] = field(default_factory=list)


def evaluate(
    scores: NDArray[np.float64], dataset: Dataset, parameters: Hyperparameters, *, min_records: int = 20
) -> Evaluation:
    """Evaluate a forest that was fitted to the whole window.

    Args:
        scores: decision function of the window's rows, shape ``(n,)``.
        dataset: the window, in the order of time.
        parameters: what it was fitted with.
        min_records: records below which nothing is held out.

    """
    metrics = {"training_records": float(len(dataset)), "training_features": float(dataset.X.shape[1])}
    metrics |= _described("training", scores)
    if len(dataset) < min_records:
        lack = f"{len(dataset)} records are too few for a holdout (at least {min_records}), so nothing was evaluated"
        return Evaluation(metrics, [lack])
    cut = len(dataset) - max(1, int(len(dataset) * HOLDOUT_SHARE))
    earlier = fit(dataset.X[:cut], parameters)
    held_out = earlier.decision_function(dataset.X[cut:])
    metrics |= _described("holdout", held_out)
    metrics["holdout_rank_correlation"] = rank_correlation(held_out, scores[cut:])
    return Evaluation(metrics)


def _described(name: str, scores: NDArray[np.float64]) -> dict[str, float]:
    return {
        f"{name}_flag_rate": float(np.mean(scores < 0)),
        f"{name}_score_mean": float(np.mean(scores)),
        f"{name}_score_std": float(np.std(scores)),
        f"{name}_score_min": float(np.min(scores)),
        f"{name}_score_median": float(np.median(scores)),
    }


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation; 0 where either side does not vary."""
    ranks = [_ranks(side) for side in (a, b)]
    if any(np.ptp(side) == 0 for side in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each value's rank; equal values share the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return means[group]
