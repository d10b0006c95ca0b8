"""The training window as one matrix. PURE."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.columns import Batch


@dataclass(frozen=True)
class Dataset:
    """Rows in the order of time.

    Args:
        feature_names: the columns of ``X``.
        timestamps: int64 microseconds since 1970 in UTC, ascending, shape ``(n,)``.
        X: float64, shape ``(n, n_features)``.
        digest: of the names, the times and the rows, so that equal digests mean equal training data.

    """

    feature_names: tuple[str, ...]
    timestamps: NDArray[np.int64]
    X: NDArray[np.float64]
    digest: str

    def __len__(self) -> int:
        return len(self.X)


def join(batches: Sequence[Batch], *, records: int) -> Dataset:
    """Join a batch and those before it into a window.

    Args:
        batches: newest first, all of one model; the first is kept whole.
        records: how many rows the window holds at most, unless the first batch alone has more.

    """
    newest, earlier = batches[0], batches[1:]
    X, timestamps = newest.X, newest.timestamps
    room = max(0, records - len(newest))
    if earlier and room:
        older_X = np.concatenate([batch.X for batch in earlier])
        older_times = np.concatenate([batch.timestamps for batch in earlier])
        latest = np.sort(np.argsort(older_times, kind="stable")[-room:])
        X = np.concatenate([older_X[latest], X])
        timestamps = np.concatenate([older_times[latest], timestamps])
    order = np.argsort(timestamps, kind="stable")
    X, timestamps = np.ascontiguousarray(X[order]), np.ascontiguousarray(timestamps[order])
    return Dataset(newest.feature_names, timestamps, X, _digest(newest.feature_names, timestamps, X))


def _digest(names: tuple[str, ...], timestamps: NDArray[np.int64], X: NDArray[np.float64]) -> str:
    hasher = hashlib.sha256(json.dumps([names, X.shape]).encode())
    hasher.update(timestamps.astype("<i8").tobytes())
    hasher.update(X.astype("<f8").tobytes())
    return f"sha256:{hasher.hexdigest()}"
