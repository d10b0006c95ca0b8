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
MIN_RECORDS = 20


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name (as MLflow shows them), and what could not be judged."""

    metrics: dict[str, float]
    warnings: list[str] = field(default_factory=list)


def evaluate(scores: NDArray[np.float64], dataset: Dataset, parameters: Hyperparameters) -> Evaluation:
    """Evaluate a forest that was fitted to the whole window.

    Args:
        scores: decision function of the window's rows, shape ``(n,)``.
        dataset: the window, in the order of time.
        parameters: what it was fitted with.

    """
    metrics = {"training_records": float(len(dataset)), "training_features": float(dataset.X.shape[1])}
    metrics |= _described("training", scores)
    if len(dataset) < MIN_RECORDS:
        lack = f"{len(dataset)} records are too few for a holdout (at least {MIN_RECORDS}), so nothing was evaluated"
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
    ranks = [np.unique(side, return_inverse=True)[1].astype(np.float64) for side in (a, b)]
    if any(np.ptp(side) == 0 for side in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def baseline(dataset: Dataset) -> dict[str, object]:
    """Return each feature's distribution in the window, against which drift is measured later."""
    features = {}
    for name, column in zip(dataset.feature_names, dataset.X.T, strict=True):
        counts, edges = np.histogram(column, bins=20)
        features[name] = {
            "mean": float(np.mean(column)),
            "std": float(np.std(column)),
            "quantiles": {
                f"{q:g}": float(np.quantile(column, q)) for q in (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)
            },
            "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        }
    return {"records": len(dataset), "training_digest": dataset.digest, "features": features}


def probe_rows(
    X: NDArray[np.float64], thresholds: NDArray[np.float32], seed: int, *, most: int = 256
) -> NDArray[np.float64]:
    """Return rows that would show a kernel that compares wrongly: training rows, and rows right on the thresholds.

    Args:
        X: the training rows, shape ``(n, n_features)``.
        thresholds: of the forest's nodes.
        seed: of the sample.
        most: how many rows to return at most.

    """
    generator = np.random.default_rng(seed)
    sample = X[generator.choice(len(X), size=min(len(X), most // 2), replace=False)]
    if len(thresholds) == 0:  # a forest of one record, or of equal ones, has no inner node
        return sample
    edges = generator.choice(thresholds, size=(most // 4, X.shape[1])).astype(np.float64)
    # Just above a threshold as a double, and yet equal to it as a float32.
    above = np.nextafter(edges, np.inf)
    return np.concatenate([sample, edges, above])
