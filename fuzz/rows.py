"""Rows to score, as the fuzzers draw them. Few numbers are drawn and many made of them, which shrinks quickly."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.forest_file import Forest

_FLOAT32 = float(np.finfo(np.float32).max)
# Most requests are small, and some are large enough to be scored in a thread, or by the kernel's blocks of rows.
_COUNTS = (1, 1, 1, 2, 3, 17, 200, 700)
_STYLES = ("small", "whole", "boundary", "extreme")


@st.composite
def rows(draw: st.DrawFn, forest: Forest) -> NDArray[np.float64]:
    """Draw rows, shape ``(n, n_features)``, all within float32's range."""
    n = draw(st.sampled_from(_COUNTS))
    style = draw(st.sampled_from(_STYLES))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return rows_of(forest, n, style, rng)


def rows_of(forest: Forest, n: int, style: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return ``n`` rows of a style: `small` and `whole` numbers, thresholds and their neighbours, or the largest."""
    shape = (n, forest.n_features)
    if style == "whole":
        return rng.integers(-9, 10, shape).astype(np.float64)
    if style == "boundary":
        thresholds = rng.choice(forest.threshold.astype(np.float64), shape)
        towards: NDArray[np.float64] = rng.choice([-np.inf, 0.0, np.inf], shape)
        return np.where(towards == 0, thresholds, np.nextafter(thresholds, towards))
    if style == "extreme":
        choice: NDArray[np.float64] = rng.choice([-_FLOAT32, _FLOAT32, 0.0, -0.0, 5e-324, 1e-45, -1e-300], shape)
        return choice
    return rng.normal(0, 2, shape).round(3)
