"""The conditions that other programs read. PURE.

kstatus (Flux, and what else waits for objects) knows three: `Reconciling=True` is in progress, `Stalled=True` is
failed, and else `Ready` decides. At most one of the two is True. `Progressing` and `Degraded` are for people and
alerts: a model whose new version was rejected serves on, so it is ready, degraded and stalled.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from registry.api.status import Condition
from registry.rollout.draft import Draft
from registry.rollout.freeze import fault
from registry.rollout.snapshot import NotFound, Unknown

_UNDER_WAY = (
    "Validating",
    "Shadowing",
    "Progressing",
    "Promoting",
    "RollingBack",
    "AwaitingApproval",
    "Paused",
    "Frozen",
)
Truth = Literal["True", "False", "Unknown"]


def of(draft: Draft) -> list[Condition]:
    """Return the conditions of a decision; one that did not change keeps the time of its last change."""
    found = [
        ("Ready", *_ready(draft)),
        ("Resolved", *_resolved(draft)),
        ("Compatible", *_by_rejection(draft, "Incompatible", "Compatible")),
        ("GatesPassed", *_gates_passed(draft)),
        ("Approved", *_approved(draft)),
        ("TrafficInSync", *_in_sync(draft)),
        ("Progressing", *_progressing(draft)),
        ("Degraded", *_degraded(draft)),
        ("Reconciling", *_reconciling(draft)),
        ("Stalled", *_stalled(draft)),
    ]
    known, generation = draft.snapshot.status.conditions, draft.snapshot.generation
    return [_condition(known, generation, draft.now, *what) for what in found]


def of_refused(known: Iterable[Condition], generation: int, now: datetime, message: str) -> list[Condition]:
    """Return the conditions of a spec that cannot be followed; what else was known of it still holds."""
    known = list(known)
    said: list[tuple[str, Truth, str, str]] = [
        ("Degraded", "True", "InvalidSpec", message),
        ("Reconciling", "False", "InvalidSpec", message),
        ("Stalled", "True", "InvalidSpec", message),
    ]
    replaced = [kind for kind, *_ in said]
    others = [condition for condition in known if condition.type not in replaced]
    return others + [_condition(known, generation, now, *what) for what in said]


def _condition(
    known: Iterable[Condition], generation: int, now: datetime, kind: str, status: Truth, reason: str, message: str
) -> Condition:
    former = next((condition for condition in known if condition.type == kind), None)
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message[:1024],
        observed_generation=generation,
        last_transition_time=now if former is None or former.status != status else former.last_transition_time,
    )


def _ready(draft: Draft) -> tuple[Truth, str, str]:
    stable = draft.stable
    if draft.status.stable_revision is None:
        return "False", "NothingServes", draft.status.message or "no revision serves yet"
    if stable is None:
        return "Unknown", "RevisionDeleted", _deleted(draft)
    if not stable.ready:
        return "False", "StableNotReady", f"{draft.status.stable_revision} has no pod that takes requests"
    return "True", "Serving", f"{stable.name} serves"


def _deleted(draft: Draft) -> str:
    name = draft.status.stable_revision
    return f"somebody deleted the ModelRevision {name}; its pods get requests as before, and nothing watches them"


def _resolved(draft: Draft) -> tuple[Truth, str, str]:
    resolution = draft.snapshot.resolution
    if isinstance(resolution, Unknown):
        return "Unknown", "MlflowUnavailable", resolution.message
    if isinstance(resolution, NotFound):
        return "False", resolution.reason, resolution.message
    return "True", "Resolved", f"version {resolution.spec.version}, {resolution.spec.digest}"


def _by_rejection(draft: Draft, reason: str, good: str) -> tuple[Truth, str, str]:
    """Return what is known of the revision that is wanted: it failed at this, or it has not."""
    resolved = draft.status.resolved
    if resolved is None:
        return "Unknown", "NothingResolved", "nothing is resolved yet"
    rejection = draft.rejection_of(resolved.revision)
    if rejection is not None and rejection.reason == reason:
        return "False", reason, rejection.message
    if draft.status.attempt is not None and draft.status.phase == "Validating":
        return "Unknown", "Validating", "it is being judged"
    return "True", good, f"{resolved.revision} has not failed"


def _gates_passed(draft: Draft) -> tuple[Truth, str, str]:
    """Return what the gates say of the newest candidate that were judged so far."""
    known = _by_rejection(draft, "GateFailed", "GatesPassed")
    open_gates = [gate for gate in draft.status.gates if gate.state != "Passed"]
    if known[0] == "True" and draft.status.attempt is not None and open_gates:
        return "Unknown", open_gates[0].state, open_gates[0].message[:1024]
    return known


def _approved(draft: Draft) -> tuple[Truth, str, str]:
    step, attempt = draft.current_step, draft.status.attempt
    waits = step is not None and step.approval is not None and draft.status.phase != "RollingBack"
    if waits and attempt is not None and attempt.approved_by is None:
        return "False", "AwaitingApproval", f"{draft.status.candidate_revision} waits for somebody's approval"
    return "True", "NothingToApprove", "no step waits for an approval"


def _in_sync(draft: Draft) -> tuple[Truth, str, str]:
    traffic = draft.snapshot.traffic
    if traffic.in_sync:
        return "True", "InSync", traffic.message or "the routes are as they should be"
    if traffic.name_taken:
        return "False", "NameTaken", traffic.message
    return "False", "OutOfSync", traffic.message or "the gateway has not followed yet"


def _progressing(draft: Draft) -> tuple[Truth, str, str]:
    phase = draft.status.phase
    return ("True" if phase in _UNDER_WAY else "False"), phase, draft.status.message or phase


def _reconciling(draft: Draft) -> tuple[Truth, str, str]:
    """Tell whether something is still to come by itself, or by somebody that it waits for."""
    phase, traffic = draft.status.phase, draft.snapshot.traffic
    if phase in _UNDER_WAY:
        return "True", phase, draft.status.message or phase
    if draft.status.stable_revision is not None and not traffic.in_sync and not traffic.name_taken:
        return "True", "OutOfSync", traffic.message or "the gateway has not followed yet"
    return "False", phase, draft.status.message or phase


def _stalled(draft: Draft) -> tuple[Truth, str, str]:
    """Tell whether what is wanted will not come unless somebody changes something. A first version may still come."""
    resolution = draft.snapshot.resolution
    if _reconciling(draft)[0] == "True":
        return "False", draft.status.phase, draft.status.message or draft.status.phase
    faults = _faults(draft)
    if faults:
        return "True", "InvalidSpec", "; ".join(faults)
    if draft.snapshot.traffic.name_taken:
        return "True", "NameTaken", draft.snapshot.traffic.message
    if draft.status.phase == "Rejected":
        return "True", "Rejected", draft.status.message
    if isinstance(resolution, NotFound) and draft.status.stable_revision is not None:
        return "True", resolution.reason, resolution.message
    return "False", "AsExpected", "nothing is in the way"


def _faults(draft: Draft) -> list[str]:
    return [message for window in draft.snapshot.spec.freeze_windows if (message := fault(window)) is not None]


def _degraded(draft: Draft) -> tuple[Truth, str, str]:
    faults = _faults(draft)
    if faults:
        return "True", "InvalidSpec", "; ".join(faults)
    if draft.snapshot.traffic.name_taken:
        return "True", "NameTaken", draft.snapshot.traffic.message
    if draft.status.phase == "Rejected":
        return "True", "Rejected", draft.status.message
    stable = draft.stable
    if draft.status.stable_revision is not None and stable is None:
        return "True", "RevisionDeleted", _deleted(draft)
    if stable is not None and not stable.ready:
        return "True", "StableNotReady", f"{draft.status.stable_revision} has no pod that takes requests"
    return "False", "AsExpected", "nothing is wrong"
