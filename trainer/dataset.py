"""The training window as one matrix, filled batch by batch, so that no second copy of it is ever held. PURE."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.columns import Batch


@dataclass(frozen=True)
class Rows:
    """What training uses of a batch: all but the vehicles, which take more memory than their numbers.

    Args:
        feature_names: the columns of ``X``.
        timestamps: int64 microseconds since 1970 in UTC, shape ``(n,)``.
        X: float64, shape ``(n, n_features)``.

    """

    feature_names: tuple[str, ...]
    timestamps: NDArray[np.int64]
    X: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.X)

    @property
    def nbytes(self) -> int:
        """Memory that the numbers take, in bytes."""
        return self.X.nbytes + self.timestamps.nbytes


def rows_of(batch: Batch) -> Rows:
    """Return a batch's numbers."""
    return Rows(batch.feature_names, batch.timestamps, batch.X)


@dataclass(frozen=True)
class Dataset:
    """Rows in the order of time.

    Args:
        feature_names: the columns of ``X``.
        timestamps: int64 microseconds since 1970 in UTC, ascending, shape ``(n,)``.
        X: float64, shape ``(n, n_features)``, rows one after the other in memory.
        digest: of the names, the times and the rows, so that equal digests mean equal training data.

    """

    feature_names: tuple[str, ...]
    timestamps: NDArray[np.int64]
    X: NDArray[np.float64]
    digest: str

    def __len__(self) -> int:
        return len(self.X)


def join(batches: Iterable[Rows], *, records: int, capacity: int) -> Dataset:
    """Join a batch and those before it into a window.

    Args:
        batches: newest first, at least one, all of one model; each is taken when the one before it was copied. The
            first is kept whole.
        records: how many rows the window holds at most, unless the first batch alone has more.
        capacity: how many rows the batches may have together: memory for as many is taken.

    """
    coming = iter(batches)
    newest = next(coming)
    X, timestamps = np.empty((capacity, newest.X.shape[1])), np.empty(capacity, np.int64)
    start = capacity  # filled from the end, so that batches that came in the order of time are in order already
    for rows in chain((newest,), coming):
        place = slice(start - len(rows), start)
        X[place], timestamps[place] = rows.X, rows.timestamps
        start = place.start
    X, timestamps = X[start:], timestamps[start:]
    order = _window_order(timestamps, earlier=len(X) - len(newest), room=max(0, records - len(newest)))
    X, timestamps = _taken(X, order), _taken(timestamps[:, None], order)[:, 0]
    return Dataset(newest.feature_names, timestamps, X, _digest(newest.feature_names, timestamps, X))


def _window_order(timestamps: NDArray[np.int64], *, earlier: int, room: int) -> NDArray[np.intp]:
    """Return the rows of the window in the order of time: of the first ``earlier`` rows the ``room`` latest."""
    order = np.argsort(timestamps, kind="stable")
    oldest = np.flatnonzero(order < earlier)[: max(0, earlier - room)]
    return np.delete(order, oldest) if len(oldest) else order


def _taken(values: NDArray[Any], order: NDArray[np.intp]) -> NDArray[Any]:
    """Return the rows ``order`` of ``values``, which is overwritten: with the memory of one more column alone."""
    first, n = int(order[0]), len(order)
    if int(order[-1]) == first + n - 1 and np.all(np.diff(order) == 1):
        return values[first : first + n]
    for column in values.T:
        column[:n] = column[order]
    return values[:n]


def _digest(names: tuple[str, ...], timestamps: NDArray[np.int64], X: NDArray[np.float64]) -> str:
    hasher = hashlib.sha256(json.dumps([names, X.shape]).encode())
    for values in (np.ascontiguousarray(timestamps, "<i8"), np.ascontiguousarray(X, "<f8")):
        hasher.update(values.view(np.uint8).ravel().data)  # a view: the window's bytes are not copied
    return f"sha256:{hasher.hexdigest()}"
