"""Reading the window that a version is trained on: its own batch and those before it, within bounds.

However much a model has taken in, what is read and held is the window, and a batch on top. Batches never change, so
some stay in memory: a fleet that sends one record at a time makes every version's window from many small batches,
nearly all of them the same as the last time.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from contract.errors import CorruptArtifact
from store.errors import ObjectMissing
from store.ingest_log import BatchRow, IngestLog
from trainer.dataset import Dataset, Rows, join, rows_of
from trainer.errors import UntrainableBatch

_log = logging.getLogger(__name__)

_CACHE_BYTES = 64 * 1024 * 1024


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
        self._cache = BatchCache(_CACHE_BYTES)

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
        chosen = self._log.window(row, records=records, batches=self._bounds.batches)
        capacity = sum(batch.record_count for batch in chosen)
        warnings: list[str] = []
        dataset = join(chain((newest,), self._earlier(chosen, warnings)), records=records, capacity=capacity)
        self._cache.add(row.id, newest, wanted={batch.id for batch in chosen})
        return Window(dataset, len(chosen) - len(warnings), warnings)

    def _earlier(self, chosen: Sequence[BatchRow], warnings: list[str]) -> Iterator[Rows]:
        """Yield all but the first batch; ``warnings`` grows by those that are left out."""
        row, wanted = chosen[0], {batch.id for batch in chosen}
        for earlier in chosen[1:]:
            try:
                rows = self._read(earlier)
            except (CorruptArtifact, ObjectMissing) as damage:
                _log.error("an earlier batch is left out of the window of %s %s: %s", row.model, row.version, damage)
                warnings.append(f"the batch of version {earlier.version} cannot be read and was left out")
                continue
            self._cache.add(earlier.id, rows, wanted=wanted)
            yield rows

    def _read(self, row: BatchRow) -> Rows:
        held = self._cache.get(row.id)
        return held if held is not None else rows_of(self._log.read(row))


class BatchCache:
    """Holds batches of up to ``limit`` bytes by their ids.

    What the window that is read has is never dropped for more of the same window: read in the same order each time, a
    window larger than the limit would find each batch gone right before it comes to it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._batches: dict[str, Rows] = {}

    def get(self, batch_id: str) -> Rows | None:
        """Return a batch that is held, which counts as used; None if it is not."""
        rows = self._batches.pop(batch_id, None)
        if rows is not None:
            self._batches[batch_id] = rows
        return rows

    def add(self, batch_id: str, rows: Rows, *, wanted: Collection[str]) -> None:
        """Hold a batch if there is room beside those ``wanted``; of the others the longest unused go."""
        if batch_id in self._batches or rows.nbytes > self._limit:
            return
        while self._bytes + rows.nbytes > self._limit:
            unused = next((held for held in self._batches if held not in wanted), None)
            if unused is None:
                return
            self._bytes -= self._batches.pop(unused).nbytes
        self._batches[batch_id] = rows
        self._bytes += rows.nbytes
