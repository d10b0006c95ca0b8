"""The features' distributions in the training window, against which drift is measured later. PURE."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.dataset import Dataset

QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_BINS = 20


def baseline(dataset: Dataset) -> dict[str, object]:
    """Return mean, standard deviation, quantiles and a histogram of every feature, as JSON takes it."""
    features = {
        name: _described(np.sort(column)) for name, column in zip(dataset.feature_names, dataset.X.T, strict=True)
    }
    return {"records": len(dataset), "training_digest": dataset.digest, "features": features}


def _described(ascending: NDArray[np.float64]) -> dict[str, object]:
    """Describe one feature's values: sorted once, for the quantiles and for the bins."""
    quantiles, edges = np.split(np.quantile(ascending, [*QUANTILES, *np.linspace(0, 1, _BINS + 1)]), [len(QUANTILES)])
    return {
        "mean": float(np.mean(ascending)),
        "std": float(np.std(ascending)),
        "quantiles": {f"{q:g}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
        "histogram": _histogram(ascending, np.unique(edges)),
    }


def _histogram(ascending: NDArray[np.float64], edges: NDArray[np.float64]) -> dict[str, list[float]]:
    """Return how many values lie in each bin; the bins' edges are quantiles, so that no bin is empty to begin with.

    Bins of equal width would need a range that doubles can divide, which huge or nearly equal values do not have. A
    value on an inner edge belongs to the bin above it, one on the last edge to the last bin. A feature that never
    varies has one bin without width.
    """
    if len(edges) == 1:
        return {"edges": [float(edges[0])] * 2, "counts": [len(ascending)]}
    inner = np.searchsorted(ascending, edges[1:-1], side="left")
    counts = np.diff(np.concatenate([[0], inner, [len(ascending)]]))
    return {"edges": edges.tolist(), "counts": counts.tolist()}
