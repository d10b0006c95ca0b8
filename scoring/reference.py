"""The decision function in numpy: the reference that any faster kernel must equal.

It gives the bits that scikit-learn gives: rows are cast to float32 before they are compared, the trees' path lengths
are added one tree after the other in double, and the power is numpy's. A sum in another order can differ in its last
bit, and the row that sets the offset has a decision function of exactly 0: there the last bit is the label.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.forest_file import Forest

# Rows walked at a time: with 200 trees, 256 rows keep the node indices (int64) within 400 kB, the size of an L2 cache.
_BLOCK = 256


def decision_function(forest: Forest, X: NDArray[Any]) -> NDArray[np.float64]:
    """Return the decision function of each row; below 0 is anomalous.

    Args:
        forest: a forest whose structure was checked.
        X: finite rows, shape ``(n, n_features)``, any real dtype; values within float32's range.

    Returns:
        float64, shape ``(n,)``.

    Raises:
        ValueError: ``X`` has another number of columns, or another number of dimensions.

    """
    if X.ndim != 2 or X.shape[1] != forest.n_features:
        raise ValueError(f"rows of {forest.n_features} features are expected; got an array of shape {X.shape}")
    rows = np.ascontiguousarray(X, dtype=np.float32)
    depth = np.empty(len(rows), dtype=np.float64)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        depth[block] = _depth(forest, rows[block])
    return scores_of_depth(forest, depth)


def scores_of_depth(forest: Forest, depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn summed path lengths into decision functions (see :mod:`contract.forest_file` for the formula)."""
    ratio = np.divide(depth, forest.normalizer) if forest.normalizer else np.ones_like(depth)
    result: NDArray[np.float64] = -np.power(2.0, -ratio) - forest.offset
    return result


def _depth(forest: Forest, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Walk all trees for some rows at once; return the sum of the leaves' path lengths, shape ``(n,)``."""
    n = len(rows)
    node = np.repeat(forest.root[:, None], n, axis=1).ravel().astype(np.intp)
    row = np.tile(np.arange(n, dtype=np.intp), forest.n_trees)
    active = np.flatnonzero(forest.feature[node] >= 0)
    while active.size:
        here = node[active]
        value = rows[row[active], forest.feature[here]]
        node[active] = forest.child[here] + (value > forest.threshold[here])
        active = active[forest.feature[node[active]] >= 0]
    # accumulate adds tree after tree; sum would pair them and may differ in the last bit.
    leaves = forest.leaf_value[node].reshape(forest.n_trees, n)
    total: NDArray[np.float64] = np.add.accumulate(leaves, axis=0)[-1]
    return total
