"""Reading the window that a version is trained on: its own batch and those before it, within bounds.

Batches never change, so those that were read last are kept in memory: a fleet that sends one record at a time makes
every version's window from many small batches, nearly all of them the same as the last time.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass

from contract.columns import Batch
from contract.errors import CorruptArtifact
from store.errors import ObjectMissing
from store.ingest_log import BatchRow, IngestLog
from trainer.dataset import Dataset, join
from trainer.errors import UntrainableBatch

_log = logging.getLogger(__name__)

_CACHE_BYTES = 64 * 1024 * 1024
# What a record takes beside its features: its time stamp and, mostly, the string of its vehicle.
_RECORD_BYTES = 128


@dataclass(frozen=True)
class Bounds:
    """How large a window may be; the version's own batch is in it whole, whatever they say.

    Args:
        records: rows.
        values: rows times features, which is what memory depends on.
        batches: batches, which is what reading time depends on.

    """

    records: int = 100_000
    values: int = 10_000_000
    batches: int = 1_000


@dataclass(frozen=True)
class Window:
    """The rows, how many batches they are from, and what people should know of them."""

    dataset: Dataset
    batches: int
    warnings: list[str]


class WindowReader:
    """Reads windows from the log, for one thread at a time."""

    def __init__(self, log: IngestLog, bounds: Bounds) -> None:
        self._log = log
        self._bounds = bounds
        self._cache: OrderedDict[str, Batch] = OrderedDict()
        self._cached_bytes = 0

    def read(self, row: BatchRow) -> Window:
        """Return the window of the version that ``row`` becomes.

        Raises:
            UntrainableBatch: its own batch is damaged or gone. An earlier one that is, is left out.

        """
        try:
            newest = self._read(row)
        except (CorruptArtifact, ObjectMissing) as damage:
            raise UntrainableBatch(f"the batch cannot be read: {damage}") from damage
        records = max(1, min(self._bounds.records, self._bounds.values // newest.X.shape[1]))
        chosen, warnings = [newest], list[str]()
        for earlier in self._log.window(row, records=records, batches=self._bounds.batches)[1:]:
            try:
                chosen.append(self._read(earlier))
            except (CorruptArtifact, ObjectMissing) as damage:
                _log.error("an earlier batch is left out of the window of %s %s: %s", row.model, row.version, damage)
                warnings.append(f"the batch of version {earlier.version} cannot be read and was left out")
        return Window(join(chosen, records=records), len(chosen), warnings)

    def _read(self, row: BatchRow) -> Batch:
        batch = self._cache.pop(row.id, None)
        if batch is None:
            batch = self._log.read(row)
            self._cached_bytes += _size(batch)
        self._cache[row.id] = batch
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= _size(oldest)
        return batch


def _size(batch: Batch) -> int:
    return batch.X.nbytes + _RECORD_BYTES * len(batch)
