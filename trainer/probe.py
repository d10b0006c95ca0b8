"""Rows that show whether another kernel scores as scikit-learn does: the offline gate scores them. PURE."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contract.forest_file import Forest
from contract.telemetry import LARGEST_VALUE

MOST_ROWS = 256
# A boundary row has this many features on thresholds; one alone would seldom be reached in a deep tree.
_MOVED = 4


def probe_rows(forest: Forest, X: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return training rows, and as many with some features moved onto thresholds or right beside them.

    Beside is the next float32 on either side, and the next double, which is another number and the same float32.

    Args:
        forest: the exported forest.
        X: its training rows, shape ``(n, n_features)``.
        seed: of the sample.

    Returns:
        At most ``MOST_ROWS`` rows.

    """
    generator = np.random.default_rng(seed)
    sample = X[generator.choice(len(X), size=min(len(X), MOST_ROWS // 2), replace=False)]
    inner = np.flatnonzero(forest.feature >= 0)
    if not len(inner):  # one record, or equal ones: no tree has anything to ask
        return sample
    edges = X[generator.integers(len(X), size=MOST_ROWS // 2)].copy()
    for _ in range(_MOVED):
        node = generator.choice(inner, size=len(edges))
        edges[np.arange(len(edges)), forest.feature[node]] = _beside(forest.threshold[node], generator)
    return np.concatenate([sample, np.clip(edges, -LARGEST_VALUE, LARGEST_VALUE)])


def _beside(threshold: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float64]:
    """Return for each threshold itself or one of its neighbours, chosen at random."""
    down, up = np.float32(-np.inf), np.float32(np.inf)
    with np.errstate(over="ignore"):  # beside the largest float32 lies infinity, which the caller cuts off
        near = np.stack([threshold, np.nextafter(threshold, down), np.nextafter(threshold, up)]).astype(np.float64)
    choices = np.concatenate([near, np.nextafter(near[:1], -np.inf), np.nextafter(near[:1], np.inf)])
    chosen: NDArray[np.float64] = choices[generator.integers(len(choices), size=len(threshold)), range(len(threshold))]
    return chosen
