"""From a scikit-learn Isolation Forest to the forest file's arrays, so that both score alike to the last bit. PURE.

scikit-learn casts rows to float32 and compares them with float64 thresholds. The file holds float32 thresholds, each
rounded down to the greatest float32 that is not above it: for a float32 ``x``, ``x <= t`` then stays exactly as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from contract.forest_file import Forest

_LEAF = -1


def export(forest: IsolationForest, feature_names: tuple[str, ...], *, training_digest: str) -> Forest:
    """Return a fitted forest as arrays (see :mod:`contract.forest_file`)."""
    trees = [
        _tree_arrays(estimator.tree_, columns, path_lengths + average - 1.0)
        for estimator, columns, path_lengths, average in zip(
            forest.estimators_,
            forest.estimators_features_,
            forest._decision_path_lengths,  # the very numbers that scikit-learn adds up
            forest._average_path_length_per_tree,
            strict=True,
        )
    ]
    sizes = [len(tree["feature"]) for tree in trees]
    root = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    for tree, start in zip(trees, root, strict=True):
        tree["child"][tree["feature"] >= 0] += start
    return Forest(
        **{
            name: np.concatenate([tree[name] for tree in trees])
            for name in ("threshold", "feature", "child", "leaf_value")
        },
        root=root,
        feature_names=feature_names,
        offset=float(forest.offset_),
        normalizer=float(len(trees) * average_path_length(int(forest.max_samples_))),
        training_digest=training_digest,
        libraries={"scikit-learn": sklearn.__version__, "numpy": np.__version__},
    )


def average_path_length(n: int) -> float:
    """Return the mean depth of an unsuccessful search in a binary search tree of ``n`` keys (Liu 2008, eq. 1)."""
    if n <= 1:
        return 0.0
    if n == 2:
        return 1.0
    return float(2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n)


def _tree_arrays(tree: Any, columns: NDArray[np.int64], leaf_values: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Return one tree's arrays, nodes in breadth-first order, so that siblings are neighbours after their parent."""
    left, right = tree.children_left, tree.children_right
    order, child = _breadth_first(left.tolist(), right.tolist())
    is_leaf = left[order] == _LEAF
    feature = np.where(is_leaf, -1, columns[np.where(is_leaf, 0, tree.feature[order])])
    return {
        "threshold": np.where(is_leaf, np.float32(0), round_down(tree.threshold[order])).astype(np.float32),
        "feature": feature.astype(np.int32),
        "child": np.array(child, dtype=np.int32),
        "leaf_value": np.where(is_leaf, leaf_values[order], 0.0),
    }


def _breadth_first(left: list[int], right: list[int]) -> tuple[list[int], list[int]]:
    """Return the nodes in breadth-first order, and each one's left child as a place in that order (0 for a leaf)."""
    order, child = [0], []
    for node in _growing(order):
        if left[node] == _LEAF:
            child.append(0)
        else:
            child.append(len(order))
            order += (left[node], right[node])
    return order, child


def _growing(items: list[int]) -> Iterable[int]:
    """Yield the items of a list that grows while it is read."""
    position = 0
    while position < len(items):
        yield items[position]
        position += 1


def round_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return for each value the greatest float32 that is not above it."""
    near = values.astype(np.float32)
    with np.errstate(over="ignore"):  # below the least float32 there is only infinity, and nothing there needs it
        below = np.nextafter(near, np.float32(-np.inf))
    down: NDArray[np.float32] = np.where(near > values, below, near)
    return down
