"""The scoring kernel: picks the fastest code on this machine that gives the reference's bits, and nothing else.

``scoring/_kernel.c`` walks the forest where a compiler was there when Telltale was installed; the numpy reference does
it elsewhere, with one warning. Every kernel gives the same bits, so which one ran never changes a label. Values are
checked for a record, where that costs nothing, and by :func:`first_bad` for an array: the scorers' ``score`` trusts its
rows.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from contract.forest_file import Forest
from scoring.errors import OutOfRange
from scoring.reference import decision_function

_logger = logging.getLogger(__name__)
_NUMPY = "numpy"
_LARGEST = np.float64(np.finfo(np.float32).max)


class Scorer(Protocol):
    """One forest, ready to score: immutable, and safe to share between threads."""

    @property
    def kernel(self) -> str:
        """Which code scores blocks of rows: ``c-avx2``, ``c`` or ``numpy``."""

    @property
    def n_features(self) -> int:
        """Number of columns that a row must have."""

    @property
    def nbytes(self) -> int:
        """Memory held beyond the forest's own arrays, in bytes."""

    def score_record(self, values: Sequence[float], /) -> float:
        """Return one record's decision function; below 0 is anomalous.

        Args:
            values: the features in the model's order, a list or tuple of floats and ints.

        Raises:
            OutOfRange: a value is not finite, or beyond float32's range.
            ValueError: there are more or fewer values than features.
            TypeError: a value is no number, or ``values`` is neither a list nor a tuple.

        """

    def score(self, X: NDArray[Any], /) -> NDArray[np.float64]:
        """Return the decision function of each row, shape ``(n,)``; the interpreter's lock is free meanwhile.

        Args:
            X: rows that :func:`first_bad` finds no fault with, shape ``(n, n_features)``; C-contiguous float64 and
                float32 are read in place, other real arrays are copied first.

        Raises:
            ValueError: ``X`` has another number of columns, or another number of dimensions.
            TypeError: ``X`` is no array of real numbers.

        """


def scorer(forest: Forest, *, kernel: str | None = None) -> Scorer:
    """Return what scores ``forest`` fastest here, or the ``kernel`` asked for.

    Args:
        forest: a forest whose structure was checked.
        kernel: one of :func:`kernels`; None takes the first. A forest that is too large for it gets the next.

    Raises:
        ValueError: this machine does not have that kernel, or the forest's structure is damaged.

    """
    if kernel is not None and kernel not in kernels():
        raise ValueError(f"there is no kernel {kernel!r} on this machine; it has {', '.join(kernels())}")
    extension = _extension()
    if extension is None or kernel == _NUMPY:
        return _NumpyScorer(forest)
    try:
        made: Scorer = extension.Scorer(
            threshold=forest.threshold,
            feature=forest.feature,
            child=forest.child,
            leaf_value=forest.leaf_value,
            root=forest.root,
            n_features=forest.n_features,
            normalizer=forest.normalizer,
            offset=forest.offset,
            kernel=kernel,
        )
    except OverflowError as limit:
        _logger.warning("scoring this forest with numpy, about 80 times slower: %s", limit)
        return _NumpyScorer(forest)
    return made


def kernels() -> tuple[str, ...]:
    """Return the kernels that this machine can run, the fastest first."""
    extension = _extension()
    return (*(extension.kernels() if extension else ()), _NUMPY)


def kernel_name() -> str:
    """Return the kernel that :func:`scorer` takes here."""
    return kernels()[0]


def first_bad(X: NDArray[Any]) -> tuple[int, int] | None:
    """Return row and column of the first value that is NaN, infinite or beyond float32's range; None if there is none.

    Args:
        X: rows, shape ``(n, columns)``, any real dtype.

    """
    extension = _extension()
    if extension is not None:
        flat: int = extension.first_bad(X)
    else:
        bad = ~(np.abs(X) <= _LARGEST)
        flat = int(bad.argmax()) if bad.any() else -1
    return None if flat < 0 else divmod(flat, X.shape[1])


class _NumpyScorer:
    """The reference, as a scorer."""

    kernel = _NUMPY
    nbytes = 0

    def __init__(self, forest: Forest) -> None:
        self._forest = forest
        self.n_features = forest.n_features

    def score_record(self, values: Sequence[float], /) -> float:
        if not isinstance(values, list | tuple):
            raise TypeError(f"a record is a list or a tuple of numbers, not {type(values).__name__}")
        if len(values) != self.n_features:
            raise ValueError(f"a record of {self.n_features} features is expected; got {len(values)}")
        try:
            row = np.array(array("d", tuple(values)))
        except OverflowError as huge:
            raise OutOfRange("a value is beyond float32's range") from huge
        bad = first_bad(row[None])
        if bad is not None:
            raise OutOfRange(f"feature {bad[1]} is {row[bad[1]]}; values must be finite and within float32's range")
        return float(decision_function(self._forest, row[None])[0])

    def score(self, X: NDArray[Any], /) -> NDArray[np.float64]:
        return decision_function(self._forest, X)


@cache
def _extension() -> ModuleType | None:
    """Return the C extension, or None, with one warning in a process, where it is not there."""
    try:
        from scoring import _kernel  # noqa: PLC0415 -- its absence must be heard of once logging is configured
    except ImportError as absence:
        _logger.warning(
            "scoring with numpy, about 80 times slower: the C extension is not there (%s); "
            "install a C compiler and Python's headers, then install telltale again",
            absence,
        )
        return None
    return _kernel
