"""What a decision changed, in the words of spans, log lines and metrics. PURE.

An attempt lasts from its first decision until its candidate was rejected, superseded, or has served and been watched;
which one a decision belongs to follows from the two statuses alone, so every replica finds the same trace for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from registry.api.status import ServedModelStatus
from registry.rollout.intent import Intent
from telemetry.spans import SpanPlace

# The conditions that wake people up; others follow from what is told anyway, or from MLflow's outage, told once.
_TELLING = ("Ready", "Degraded")

Outcome = Literal["promoted", "rejected", "rolled_back", "superseded"]


@dataclass(frozen=True)
class Ending:
    """What became of a revision; the reason is one word."""

    revision: str
    outcome: Outcome
    reason: str


def attempt_in(status: ServedModelStatus) -> str | None:
    """Return the id of the attempt that a status is in, also while it is watched; of a way back without one, the same.

    None at rest.
    """
    if status.attempt is not None:
        return status.attempt.id
    if status.phase == "RollingBack":
        undone = [rejection for rejection in status.rejected_revisions if rejection.served]
        return _undo_of(undone[-1].revision, status) if undone else None
    if status.baking_until is not None:
        return f"{status.stable_revision}/{status.attempts}"
    return None


def undone_by(before: ServedModelStatus, intent: Intent) -> str | None:
    """Return the id of a way back that a decision at rest begins and ends at once; None where it does neither."""
    back = (found.revision for found in endings(before, intent) if found.outcome == "rolled_back")
    revision = next(back, None)
    return None if revision is None else _undo_of(revision, intent.status)


def place_of(uid: str, attempt: str) -> SpanPlace:
    """Return the first span of an attempt's trace: the first 24 bytes of SHA-256 of ``telltale/{uid}/{attempt}``.

    The first 16 are the trace id, the next 8 the span id.
    """
    digest = hashlib.sha256(f"telltale/{uid}/{attempt}".encode()).digest()
    return SpanPlace(int.from_bytes(digest[:16]), int.from_bytes(digest[16:24]))


def has_changed(before: ServedModelStatus, after: ServedModelStatus) -> bool:
    """Tell whether a decision changed something that people would call a change; messages and clocks are none."""
    return _essence(before) != _essence(after)


def conditions_changed(before: ServedModelStatus, after: ServedModelStatus) -> list[str]:
    """Return what is said now of the conditions Ready and Degraded, where that is news."""
    known = _told(before)
    return [f"{kind} is {value}" for kind, value in _told(after).items() if known.get(kind) != value]


def endings(before: ServedModelStatus, intent: Intent) -> Iterator[Ending]:
    """Yield what became of revisions by a decision; a stable one that another took over from has had its attempt."""
    for found in intent.outcomes:
        if found.outcome == "Stable":
            yield Ending(found.revision, "promoted", found.reason)
        elif found.outcome == "Rejected":
            yield Ending(found.revision, "rejected", found.reason)
        elif found.outcome == "RolledBack":
            yield Ending(found.revision, "rolled_back", found.reason)
        elif found.revision == before.candidate_revision:
            yield Ending(found.revision, "superseded", found.reason)


def ending_of(attempt: str, after: ServedModelStatus) -> Ending:
    """Return what became of an attempt that a status is no longer in."""
    revision = attempt.partition("/")[0]
    rejection = next((found for found in after.rejected_revisions if found.revision == revision), None)
    if rejection is not None:
        return Ending(revision, "rolled_back" if rejection.served else "rejected", rejection.reason)
    if after.stable_revision == revision:
        return Ending(revision, "promoted", "Promoted")
    return Ending(revision, "superseded", "Superseded")


def _undo_of(revision: str, status: ServedModelStatus) -> str:
    return f"{revision}/{status.attempts}/undo"


def _essence(status: ServedModelStatus) -> tuple[Any, ...]:
    clocks = {"ready_at", "step_started_at", "unavailable_since", "waits_since"}
    return (
        status.phase,
        None if status.attempt is None else status.attempt.model_dump(exclude=clocks),
        status.resolved,
        status.stable_revision,
        status.candidate_revision,
        status.previous_revision,
        status.paused,
        status.rejected_revisions,
        status.processed_actions,
        {gate.name: gate.state for gate in status.gates},
        status.plan,
        _told(status),
    )


def _told(status: ServedModelStatus) -> dict[str, str]:
    return {one.type: f"{one.status} ({one.reason})" for one in status.conditions if one.type in _TELLING}
