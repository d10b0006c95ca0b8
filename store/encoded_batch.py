"""A batch on its way into the store, as a value that needs no Parquet library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EncodedBatch:
    """A batch as it is stored: ``data`` is the Parquet file, the rest is what the log keeps beside it."""

    model: str
    feature_names: tuple[str, ...]
    record_count: int
    data: bytes
