"""Fitting Isolation Forests. PURE: the same rows and seed give the same forest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest


@dataclass(frozen=True)
class Hyperparameters:
    """What a forest is fitted with.

    Args:
        n_estimators: number of trees.
        contamination: share of the training rows that are to come out as anomalous.
        seed: of all randomness.

    """

    n_estimators: int = 200
    contamination: float = 0.05
    seed: int = 0


def fit(X: NDArray[np.float64], parameters: Hyperparameters) -> IsolationForest:
    """Fit a forest to rows of shape ``(n, n_features)``, ``n`` at least 1, after Liu, Ting and Zhou (2008)."""
    forest = IsolationForest(
        n_estimators=parameters.n_estimators, contamination=parameters.contamination, random_state=parameters.seed
    )
    forest.fit(X)
    return forest


def seed_of(model: str, version: str) -> int:
    """Return the seed of a version: the same at every attempt, another for every version."""
    return int.from_bytes(f"{model} {version}".encode()[-16:], "big") % (2**32 - 1)
