"""Gathering what is there, and deciding what of it may go. Nothing is changed.

Objects are listed before it is asked what refers to them, so that a writer that comes in between is seen. Of what
cannot be asked nothing goes: without MLflow no version, run or batch, only what no manifest and no row names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, islice

from contract.errors import CorruptArtifact
from store.batch_retention import BatchRetention
from store.errors import ObjectMissing
from store.model_store import ModelStore
from store.objects import ObjectStore, StoredObject
from store.serving import ServedVersions
from trainer.errors import TrackingRefused, TrackingUnavailable
from trainer.retention.batches import old_batches
from trainer.retention.facts import Published, Snapshot, StoredVersion, Tracked
from trainer.retention.mlflow_records import MlflowRecords
from trainer.retention.plan import Item, Plan, Policy
from trainer.retention.rules import (
    lost_files,
    lost_registrations,
    old_runs,
    old_versions,
    references,
    shown,
    too_many,
)
from trainer.retention.stored import batch_objects, stored_versions

Progress = Callable[[str], None]
_PAGE = 1_000
# A forest and a probe: all that a manifest names.
_FILES = 2


@dataclass(frozen=True)
class Finder:
    """Finds what may go.

    Args:
        batches: the log of batches.
        objects: the object store.
        models: the model store in it.
        served: what is served by default.
        mlflow: MLflow.
        clock: the time now, by PostgreSQL's clock.

    """

    batches: BatchRetention
    objects: ObjectStore
    models: ModelStore
    served: ServedVersions
    mlflow: MlflowRecords
    clock: Callable[[], datetime]

    def find(self, policy: Policy, progress: Progress = lambda _: None) -> Plan:
        """Return what may go.

        Raises:
            StoreUnavailable: PostgreSQL or the object store cannot be asked.

        """
        return _Search(self, policy, self.clock(), progress).run()


class _Search:
    """One look at everything."""

    def __init__(self, finder: Finder, policy: Policy, now: datetime, progress: Progress) -> None:
        self._finder = finder
        self._policy = policy
        self._now = now
        self._progress = progress
        self._notes: list[str] = []
        self._mlflow_is_away = False
        self._doubtful: set[str] = set()

    def run(self) -> Plan:
        items = list(self._uploads())
        stored: dict[str, list[StoredVersion]] = {}
        for model, version in stored_versions(self._counted("models/")):
            stored.setdefault(model, []).append(version)
        features = self._finder.batches.models()
        snapshots = {model: self._snapshot(model, stored.pop(model, [])) for model in features}
        for snapshot in snapshots.values():
            items += self._of_versions(snapshot)
        items += self._of_batches(features, snapshots)
        self._notes += [_unknown(model, "models") for model in stored]
        return Plan(self._now, items, self._notes, complete=not self._mlflow_is_away)

    def _counted(self, prefix: str) -> Iterator[StoredObject]:
        for number, found in enumerate(self._finder.objects.listed(prefix), 1):
            if number % _PAGE == 0:
                self._progress(f"{number:,} objects under {prefix}")
            yield found

    def _uploads(self) -> Iterator[Item]:
        for left in self._finder.objects.unfinished():
            if self._now - left.since >= self._policy.grace:
                why = f"begun more than {shown(self._policy.grace)} ago, and never ended"
                yield Item("upload", "", left.id, why, keys=(left.key,))

    def _snapshot(self, model: str, versions: Iterable[StoredVersion]) -> Snapshot:
        finder = self._finder
        self._progress(f"model {model}")
        pending = finder.batches.pending(model)
        served = finder.served.all().get(model)
        tracked = self._tracked(model, any_visible=any(version.manifest for version in versions))
        registered = Counter(r.version for r in tracked.registrations) if tracked else Counter[str]()
        twice = {version for version, times in registered.items() if times > 1}
        return Snapshot(
            model=model,
            now=self._now,
            versions=tuple(self._read_if_needed(model, version, twice) for version in versions),
            pending=pending,
            served=served.version if served else None,
            asked={version: why for (name, version), why in self._policy.keep.items() if name == model},
            tracked=tracked,
        )

    def _tracked(self, model: str, *, any_visible: bool) -> Tracked | None:
        """Return what MLflow has of a model, or None, with a note, if that cannot be told."""
        if self._mlflow_is_away:
            return None
        try:
            found = self._ask_mlflow(model, any_visible=any_visible)
        except TrackingUnavailable as error:
            self._mlflow_is_away = True
            self._notes.append(f"versions, runs and batches stay, since MLflow cannot be asked who needs them: {error}")
        except TrackingRefused as error:
            self._notes.append(f"versions, runs and batches of {model} stay: {error}")
        else:
            return found
        return None

    def _ask_mlflow(self, model: str, *, any_visible: bool) -> Tracked | None:
        before = self._now - self._policy.grace
        found = self._finder.mlflow.of(model, before=before)
        if found is None and not any_visible:
            return Tracked(runs=self._finder.mlflow.runs(model, before=before))
        if found is None:
            self._notes.append(
                f"MLflow knows no model {model}, and the model store does: is it another MLflow? Of its versions, runs"
                " and batches nothing goes"
            )
        return found

    def _read_if_needed(self, model: str, version: StoredVersion, twice: set[str]) -> StoredVersion:
        """Read a version's manifest where there is more than it can name."""
        if version.manifest is None or (len(version.files) <= _FILES and version.version not in twice):
            return version
        try:
            manifest = self._finder.models.manifest(model, version.version)
        except (CorruptArtifact, ObjectMissing) as fault:
            self._notes.append(f"{model} {version.version} has more files than it can need, and they stay: {fault}")
            return version
        keys = frozenset({manifest.forest.key, manifest.probe.key})
        return replace(version, published=Published(keys, manifest.mlflow_run_id, manifest.mlflow_version))

    def _of_versions(self, snapshot: Snapshot) -> list[Item]:
        visible = {version.version for version in snapshot.versions if version.manifest is not None}
        if snapshot.served is not None and snapshot.served not in visible and not self._policy.trusting:
            self._doubtful.add(snapshot.model)
            self._notes.append(
                f"{snapshot.model} {snapshot.served} is served, and is not in the model store: is it another one's?"
                f" Of {snapshot.model} nothing goes; --trust-stores removes it all the same"
            )
            return []
        items = list(lost_files(snapshot, self._policy))
        if snapshot.tracked is None:
            return items
        going = [*old_versions(snapshot, self._policy), *self._lost_registrations(snapshot, snapshot.tracked)]
        return [*items, *going, *old_runs(snapshot, self._policy, going)]

    def _lost_registrations(self, snapshot: Snapshot, tracked: Tracked) -> list[Item]:
        visible = {version.version for version in snapshot.versions if version.manifest is not None}
        self._notes += [
            f"the alias {r.aliases[0]} of {snapshot.model} names {r.version}, which is not in the model store: move it"
            for r in tracked.registrations
            if r.aliases and r.version not in visible
        ]
        lost = lost_registrations(snapshot, self._policy)
        what = f"MLflow versions of {snapshot.model}"
        return lost if self._is_plausible(len(lost), len(tracked.registrations), what) else []

    def _is_plausible(self, orphans: int, of: int, what: str, *, any_other: bool = True) -> bool:
        """Tell whether so many orphans can be what crashes left; ``any_other`` says whether anything is none."""
        if self._policy.trusting or (any_other and not too_many(orphans, of)):
            return True
        self._notes.append(
            f"{orphans} of {of} {what} have no counterpart, which is more than crashes leave: are the database and the"
            " object store of one installation, and of one time? They stay; --trust-stores removes them"
        )
        return False

    def _of_batches(self, features: dict[str, int], snapshots: dict[str, Snapshot]) -> Iterator[Item]:
        left = dict(snapshots)
        objects = batch_objects(self._counted("batches/"))
        for model, group in groupby(objects, key=lambda one: one[0]):
            snapshot = left.pop(model, None)
            if snapshot is None:
                self._notes.append(_unknown(model, "batches"))
                continue
            if model in self._doubtful:
                continue
            going = {item.keys[0]: item for item in self._old_batches(snapshot, features[model])}
            yield from self._strays(model, ((batch_id, file) for _, batch_id, file in group), going)
            yield from going.values()
        for model, snapshot in left.items():
            yield from self._old_batches(snapshot, features[model])

    def _old_batches(self, snapshot: Snapshot, features: int) -> Iterator[Item]:
        if snapshot.tracked is None or snapshot.model in self._doubtful:
            return iter(())
        rows = self._finder.batches.newest_first(snapshot.model)
        needed = references(snapshot)
        return old_batches(snapshot.model, rows, self._policy, features=features, now=self._now, needed=needed)

    def _strays(
        self, model: str, objects: Iterator[tuple[str, StoredObject]], going: dict[str, Item]
    ) -> Iterator[Item]:
        """Yield the objects that have no row; note the sizes of those that are ``going`` with theirs."""
        strays, number, matched = list[Item](), 0, 0
        while page := list(islice(objects, _PAGE)):
            number += len(page)
            known = self._finder.batches.known([batch_id for batch_id, _ in page])
            matched += len(known)
            for batch_id, file in page:
                if file.key in going:
                    going[file.key] = replace(going[file.key], size=file.size)
                elif batch_id not in known and self._now - file.modified >= self._policy.grace:
                    why = "it has no row: the server ended before it accepted the batch, or a removal was cut off"
                    strays.append(Item("batch object", model, batch_id, why, size=file.size, keys=(file.key,)))
        if strays and self._is_plausible(len(strays), number, f"batch objects of {model}", any_other=matched > 0):
            yield from strays


def _unknown(model: str, where: str) -> str:
    return f"{where}/{model}/ is left alone: the database knows no model {model}"
