"""Forests of any shape, made without training, and rows that lie on their thresholds and one ulp beside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contract.forest_file import Forest, check_structure

_LARGEST = np.finfo(np.float32).max


def random_forest(
    seed: int,
    *,
    n_trees: int,
    n_features: int,
    leaves: int,
    fewest: int = 1,
    distinct: int = 50,
    normalizer: float | None = None,
) -> Forest:
    """Return a forest whose trees grew at random places.

    Args:
        seed: of all that is random.
        n_trees: number of trees.
        n_features: number of columns.
        leaves: the most leaves that a tree gets.
        fewest: the fewest.
        distinct: how many values the thresholds are taken from; few make ties.
        normalizer: the forest's; None takes one of the usual size.

    """
    rng = np.random.default_rng(seed)
    special = np.array([0.0, -0.0, _LARGEST, -_LARGEST, 1e-45, -1e-45], np.float32)
    pool = np.concatenate([special, rng.normal(size=distinct).astype(np.float32)])
    feature: list[int] = []
    child: list[int] = []
    roots = []
    for n_leaves in rng.integers(fewest, leaves + 1, size=n_trees).tolist():
        roots.append(len(feature))
        _grow(feature, child, n_leaves, rng)
    inner = np.array(feature) >= 0
    n = len(feature)
    forest = Forest(
        threshold=np.where(inner, rng.choice(pool, size=n), 0).astype(np.float32),
        feature=np.where(inner, rng.integers(0, n_features, size=n), -1).astype(np.int32),
        child=np.array(child, np.int32),
        leaf_value=np.where(inner, 0, rng.choice(rng.uniform(1, 12, size=40), size=n)),
        root=np.array(roots, np.int32),
        feature_names=tuple(f"f{i}" for i in range(n_features)),
        offset=-0.5,
        normalizer=n_trees * 8.0 if normalizer is None else normalizer,
        training_digest="sha256:00",
    )
    check_structure(forest)
    return forest


def rows_near(forest: Forest, n: int, seed: int) -> NDArray[np.float64]:
    """Return ``n`` rows of values on the forest's thresholds, one ulp of either precision beside them, or elsewhere."""
    rng = np.random.default_rng(seed)
    at = rng.choice(forest.threshold, size=(n, forest.n_features))
    up = rng.choice(np.array([-np.inf, np.inf]), size=at.shape)
    with np.errstate(over="ignore", under="ignore"):
        beside = np.nextafter(at, up.astype(np.float32)).astype(np.float64)
    choices = np.stack(
        [
            at.astype(np.float64),
            np.nextafter(at.astype(np.float64), up),
            beside,
            rng.normal(size=at.shape),
            rng.choice(np.array([0.0, -0.0, 1e-45, -1e-45, 1e-300]), size=at.shape),
        ]
    )
    picked = np.take_along_axis(choices, rng.integers(0, len(choices), size=(1, *at.shape)), axis=0)[0]
    clipped: NDArray[np.float64] = np.clip(picked, -float(_LARGEST), float(_LARGEST))
    return clipped


def chain(depth: int) -> Forest:
    """Return one tree whose right children go on and on: x0 <= 0 leaves at the first node, x0 <= 1 at the second."""
    n = 2 * depth + 1
    inner = (np.arange(n) % 2 == 0) & (np.arange(n) < n - 1)
    return Forest(
        threshold=np.where(inner, np.arange(n) // 2, 0).astype(np.float32),
        feature=np.where(inner, 0, -1).astype(np.int32),
        child=np.where(inner, np.arange(n) + 1, 0).astype(np.int32),
        leaf_value=np.where(inner, 0.0, np.arange(n) / 2),
        root=np.array([0], np.int32),
        feature_names=("x",),
        offset=-0.5,
        normalizer=float(depth),
        training_digest="sha256:00",
    )


def _grow(feature: list[int], child: list[int], n_leaves: int, rng: np.random.Generator) -> None:
    """Append a tree: split a random leaf until there are enough. 0 stands for any feature."""
    open_leaves = [len(feature)]
    feature.append(-1)
    child.append(0)
    for draw in rng.random(n_leaves - 1).tolist():
        node = open_leaves.pop(int(draw * len(open_leaves)))
        feature[node], child[node] = 0, len(feature)
        open_leaves += [len(feature), len(feature) + 1]
        feature += [-1, -1]
        child += [0, 0]
