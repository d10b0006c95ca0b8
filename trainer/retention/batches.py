"""Which batches, and which objects of batches, may go. PURE.

The rows of a model come newest first, one after the other, and nothing but a count is kept of them: a log of millions
takes no memory.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from trainer.retention.plan import Item, Policy
from trainer.retention.rules import shown

if TYPE_CHECKING:
    from store.batch_retention import LoggedBatch


@dataclass
class _Window:
    """The windows of all trainings that can still come, as one walks back through the rows.

    All have the same bounds, so of two the one that was opened later reaches further back, and one count is enough.
    """

    most_records: int
    most_batches: int
    records: int = 0
    batches: int = 0

    def open(self) -> None:
        """Let a window begin with the next row."""
        self.records, self.batches = self.most_records, self.most_batches

    def takes(self, row: LoggedBatch) -> bool:
        """Tell whether a row is in a window, and count it."""
        if self.records <= 0 or self.batches <= 0:
            return False
        self.records -= row.record_count
        self.batches -= 1
        return True


def old_batches(
    model: str, rows: Iterable[LoggedBatch], policy: Policy, *, features: int, now: datetime, needed: Container[str]
) -> Iterator[Item]:
    """Yield a model's batches that may go.

    Kept are those that are young, pending, or in the window of a training that can come: the model's next, that of a
    batch that is pending or failed and may be retried, and that of a version in ``needed``, which someone may want to
    train again or look into.

    Args:
        model: its name.
        rows: all of its batches, newest first.
        policy: how long things are kept.
        features: how many features the model has.
        now: PostgreSQL's time.
        needed: versions that somebody names.

    """
    bounds = policy.window
    window = _Window(max(1, min(bounds.records, bounds.values // features)), bounds.batches)
    first = True
    for row in rows:
        limit = max(policy.failed_batches if row.failed else policy.batches, policy.grace)
        is_old = now - row.touched >= limit
        may_be_retried = row.failed and not is_old
        if first or row.pending or may_be_retried or row.version in needed:
            window.open()
        first = False
        if not window.takes(row) and is_old:
            yield Item("batch", model, row.id, _why(row, limit), keys=(row.object_key,), batch=row.id)


def _why(row: LoggedBatch, limit: timedelta) -> str:
    if row.failed:
        return f"failed, and not retried for {shown(limit)}"
    return f"older than {shown(limit)}, and in no window that can come"
