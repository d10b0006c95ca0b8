"""Which versions, files, registrations and runs of a model may go. PURE.

A version is kept by the first of the rules in `_KEEPS` that gives a reason; the others are for what no version needs:
what lost attempts left, and runs whose version is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from trainer.retention.facts import Registration, RunFact, Snapshot, StoredVersion
from trainer.retention.plan import Item, Policy

_FEW = 10
_SHARE = 10


def too_many(orphans: int, of: int) -> bool:
    """Tell whether orphans are more than a few and more than a tenth: likelier than so many crashes is the wrong place.

    A crash leaves one orphan. A database that is another store's, or was restored from a backup, makes orphans of many.
    """
    return orphans > _FEW and orphans * _SHARE > of


@dataclass(frozen=True)
class _Look:
    """A snapshot, and what several rules want to know of it."""

    snapshot: Snapshot
    policy: Policy
    newest: frozenset[str]
    references: Mapping[str, str]

    def is_older(self, than: timedelta, version: StoredVersion) -> bool:
        return self.snapshot.now - version.newest >= than


def references(snapshot: Snapshot) -> dict[str, str]:
    """Return the versions that somebody names, each with by whom."""
    found = {r.version: "marked to be kept in MLflow" for r in _registrations(snapshot) if r.keep}
    found |= {r.version: f"the alias {r.aliases[0]}" for r in _registrations(snapshot) if r.aliases}
    found |= snapshot.asked
    if snapshot.served is not None:
        found[snapshot.served] = "served by default"
    return found


def newest(snapshot: Snapshot, count: int) -> frozenset[str]:
    """Return a model's newest visible versions; those that the gate refused are no use to anyone, and do not count."""
    refused = {r.version for r in _registrations(snapshot) if r.refused}
    visible = (v.version for v in snapshot.versions if v.manifest is not None and v.version not in refused)
    return frozenset(sorted(visible, reverse=True)[:count])


def _is_referenced(version: StoredVersion, look: _Look) -> str | None:
    return look.references.get(version.version)


def _is_pending(version: StoredVersion, look: _Look) -> str | None:
    return "its training is not over" if version.version in look.snapshot.pending.values() else None


def _is_newest(version: StoredVersion, look: _Look) -> str | None:
    return f"of the newest {look.policy.newest_versions}" if version.version in look.newest else None


def _is_young(version: StoredVersion, look: _Look) -> str | None:
    than = max(look.policy.versions, look.policy.grace)
    return None if look.is_older(than, version) else f"younger than {shown(than)}"


_KEEPS: tuple[Callable[[StoredVersion, _Look], str | None], ...] = (_is_referenced, _is_pending, _is_newest, _is_young)


def reasons_to_keep(snapshot: Snapshot, policy: Policy) -> dict[str, str | None]:
    """Return for each visible version why it is kept, or None if nothing keeps it."""
    look = _Look(snapshot, policy, newest(snapshot, policy.newest_versions), references(snapshot))
    return {
        version.version: next(filter(None, (keeps(version, look) for keeps in _KEEPS)), None)
        for version in snapshot.versions
        if version.manifest is not None
    }


def old_versions(snapshot: Snapshot, policy: Policy) -> Iterator[Item]:
    """Yield the visible versions that nothing keeps, oldest first; none while MLflow's references are not known."""
    if snapshot.tracked is None:
        return
    kept = reasons_to_keep(snapshot, policy)
    for version in sorted(snapshot.versions, key=lambda version: version.version):
        if version.manifest is None or kept[version.version] is not None:
            continue
        registered = _registration_of(version, snapshot.tracked.registrations)
        yield Item(
            "version",
            snapshot.model,
            version.version,
            f"older than {shown(max(policy.versions, policy.grace))}, and nothing refers to it",
            size=version.size,
            # The manifest first: without it nobody sees the rest.
            keys=(version.manifest.key, *(file.key for file in version.files)),
            batch=registered.batch if registered else None,
            number=registered.number if registered else None,
            run=registered.run if registered else None,
        )


def _registration_of(version: StoredVersion, registrations: Iterable[Registration]) -> Registration | None:
    """Return the registration of a version: the one that its manifest names, where there are several."""
    found = [r for r in registrations if r.version == version.version]
    named = [r for r in found if version.published is not None and r.number == version.published.number]
    return next(iter(named or found), None)


def lost_files(snapshot: Snapshot, policy: Policy) -> Iterator[Item]:
    """Yield the files of versions that never became visible, or no longer are, and those that a manifest leaves out."""
    for version in snapshot.versions:
        if version.version in snapshot.pending.values():
            continue
        if version.manifest is None:
            lost, why = version.files, "no manifest names them: an attempt was lost, or a removal cut off"
        elif version.published is not None:
            lost = tuple(file for file in version.files if file.key not in version.published.keys)
            why = "its manifest names others: an attempt was overtaken"
        else:
            continue
        old = [file for file in lost if snapshot.now - file.modified >= policy.grace]
        # Files of one attempt stay together: a young one says that it may go on.
        if old and len(old) == len(lost):
            size, keys = sum(file.size for file in old), tuple(file.key for file in old)
            yield Item("version files", snapshot.model, version.version, why, size=size, keys=keys)


def lost_registrations(snapshot: Snapshot, policy: Policy) -> list[Item]:
    """Return the versions in MLflow that have no artefact, or that an overtaken attempt registered a second time."""
    visible = {v.version: v for v in snapshot.versions if v.manifest is not None}
    return [
        Item("registration", snapshot.model, r.number, why, batch=r.batch, run=r.run)
        for r in _registrations(snapshot)
        if (why := _why_lost(r, visible.get(r.version))) is not None
        and not (r.aliases or r.keep or r.batch in snapshot.pending)
        and snapshot.now - r.created >= policy.grace
    ]


def _why_lost(registration: Registration, version: StoredVersion | None) -> str | None:
    if version is None:
        return f"version {registration.version} is not in the model store"
    if version.published is not None and version.published.number != registration.number:
        return f"version {registration.version} is registered as {version.published.number}"
    return None


def old_runs(snapshot: Snapshot, policy: Policy, going: Iterable[Item]) -> Iterator[Item]:
    """Yield the runs of lost attempts, and those whose version is gone for long.

    ``going`` are the versions and registrations that go before them.
    """
    gone = {item.number if item.kind == "version" else item.id for item in going}
    removed = {item.run for item in going if item.kind == "version"}
    needed = {r.run for r in _registrations(snapshot) if r.number not in gone}
    registered = {r.version for r in _registrations(snapshot) if r.number not in gone}
    kept = {v.version for v in snapshot.versions if v.manifest is not None}
    kept -= {item.id for item in going if item.kind == "version"}
    for run in snapshot.tracked.runs if snapshot.tracked else ():
        # A visible version that MLflow no longer has was deleted there by a person: its run is still its run.
        is_a_versions = run.id in needed or (run.version in kept and run.version not in registered)
        if not (is_a_versions or run.keep or run.batch in snapshot.pending):
            why = _why_old(run, snapshot, policy, collected=run.collected or run.id in removed)
            if why is not None:
                yield Item("run", snapshot.model, run.id, why, batch=run.batch)


def _why_old(run: RunFact, snapshot: Snapshot, policy: Policy, *, collected: bool) -> str | None:
    age, limit = snapshot.now - run.started, max(policy.runs, policy.grace)
    if age >= limit:
        return f"older than {shown(limit)}, and its version is gone"
    if age >= policy.grace and not collected:
        return "no version came of it: its attempt was lost"
    return None


def shown(time: timedelta) -> str:
    """Return a length of time as people say it."""
    hours = round(time.total_seconds() / 3600, 2)
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"


def _registrations(snapshot: Snapshot) -> tuple[Registration, ...]:
    return snapshot.tracked.registrations if snapshot.tracked else ()
