"""What is to go, as a list that can be shown, counted and carried out. PURE."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from trainer.window import Bounds

Kind = Literal["upload", "batch object", "version files", "version", "registration", "run", "batch"]


@dataclass(frozen=True)
class Policy:
    """How long things are kept.

    Args:
        grace: nothing younger goes, whatever else is said: it may belong to a write that is under way.
        batches: batches that are trained.
        failed_batches: batches whose training failed, and which a person may retry.
        newest_versions: this many of each model's versions, whatever their age.
        versions: further versions.
        runs: MLflow runs whose version is gone.
        window: what a training reads; what is in one that can still come is kept.
        keep: versions that others refer to: ``(model, version)`` to why.
        trusting: whether orphans go even where they are so many that the wrong database or store is more likely.

    """

    grace: timedelta = timedelta(hours=24)
    batches: timedelta = timedelta(days=90)
    failed_batches: timedelta = timedelta(days=365)
    newest_versions: int = 10
    versions: timedelta = timedelta(days=30)
    runs: timedelta = timedelta(days=365)
    window: Bounds = Bounds()  # noqa: RUF009 - it is frozen
    keep: dict[tuple[str, str], str] = field(default_factory=dict)
    trusting: bool = False


@dataclass(frozen=True)
class Item:
    """One thing that is to go.

    Args:
        kind: what it is: an upload that never ended; a batch's object without its row; files of the model store that no
            manifest names; a version; a version of MLflow without artefact; a run; a batch.
        model: whose; empty where that cannot be told.
        id: its id: of a batch, a version or a run, a key or a number.
        why: a reason for people.
        size: bytes of the object store.
        keys: the objects that go, in this order.
        batch: the batch of which it is.
        number: the MLflow version that goes with it.
        run: the run that keeps its numbers.

    """

    kind: Kind
    model: str
    id: str
    why: str
    size: int = 0
    keys: tuple[str, ...] = ()
    batch: str | None = None
    number: str | None = None
    run: str | None = None


@dataclass(frozen=True)
class Total:
    """How many items, and how many bytes of the object store."""

    count: int
    size: int


@dataclass(frozen=True)
class Plan:
    """All that is to go, as of ``now``; ``notes`` say what was left out, and why.

    It is not ``complete`` if MLflow could not be asked.
    """

    now: datetime
    items: list[Item]
    notes: list[str]
    complete: bool = True

    def totals(self) -> dict[Kind, Total]:
        """Return the total of each kind, in the order in which they are carried out."""
        return totals(self.items)


def totals(items: Iterable[Item]) -> dict[Kind, Total]:
    """Return the total of each kind, in the order of its first."""
    found: dict[Kind, Total] = {}
    for item in items:
        before = found.get(item.kind, Total(0, 0))
        found[item.kind] = Total(before.count + 1, before.size + item.size)
    return found
