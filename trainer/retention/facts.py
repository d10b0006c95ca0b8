"""What is known of one model when it is decided what of it may go. PURE.

Every time in here comes from a server: PostgreSQL's ``now()``, the object store's time stamps, MLflow's. The clock of
the machine that collects decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from store.objects import StoredObject


@dataclass(frozen=True, slots=True)
class Published:
    """What a version's manifest names: its files, and its run and number in MLflow."""

    keys: frozenset[str]
    run: str
    number: str


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """What the model store has of one version.

    Args:
        version: its id.
        manifest: its manifest, without which it is not visible.
        files: its forest and probe files, of all attempts at it.
        published: what the manifest names; None where that was not asked, or cannot be read.

    """

    version: str
    manifest: StoredObject | None
    files: tuple[StoredObject, ...]
    published: Published | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files) + (self.manifest.size if self.manifest else 0)

    @property
    def newest(self) -> datetime:
        """When the last of it was written."""
        return max(file.modified for file in (*self.files, *([self.manifest] if self.manifest else [])))


@dataclass(frozen=True, slots=True)
class Registration:
    """A model version in MLflow that the trainer registered.

    ``keep`` tells whether a person marked it to be kept, ``refused`` whether the offline gate refused it.
    """

    number: str
    version: str
    batch: str
    run: str
    created: datetime
    aliases: tuple[str, ...] = ()
    keep: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class RunFact:
    """A run in MLflow that the trainer made, and that is not deleted.

    ``version`` is empty if the attempt ended before it said so. ``collected`` tells that its version was published, and
    removed since; ``keep`` that a person marked it to be kept.
    """

    id: str
    batch: str
    version: str
    started: datetime
    collected: bool = False
    keep: bool = False


@dataclass(frozen=True)
class Tracked:
    """What MLflow has of one model."""

    registrations: tuple[Registration, ...] = ()
    runs: tuple[RunFact, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """One model, its batches apart, which are too many.

    Args:
        model: its name.
        now: PostgreSQL's time.
        versions: the model store's.
        pending: the batches whose training or verdict is still to come: id to version.
        served: the version that is served by default.
        asked: versions that were asked to be kept, each with by whom or why.
        tracked: MLflow's side; None if it could not be asked.

    """

    model: str
    now: datetime
    versions: tuple[StoredVersion, ...] = ()
    pending: Mapping[str, str] = field(default_factory=dict)
    served: str | None = None
    asked: Mapping[str, str] = field(default_factory=dict)
    tracked: Tracked | None = None
