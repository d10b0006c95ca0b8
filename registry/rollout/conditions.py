"""The conditions that other programs read. PURE.

kstatus (Argo CD, Flux) takes `Ready=True` for done, `Reconciling`-like work by `Progressing=True`, and a failure by
`Degraded=True`; each also carries a reason that is one word and a message for people.
"""

from __future__ import annotations

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
        ("GatesPassed", *_by_rejection(draft, "GateFailed", "GatesPassed")),
        ("Approved", *_approved(draft)),
        ("TrafficInSync", *_in_sync(draft)),
        ("Progressing", *_progressing(draft)),
        ("Degraded", *_degraded(draft)),
    ]
    return [_condition(draft, *what) for what in found]


def _condition(draft: Draft, kind: str, status: Truth, reason: str, message: str) -> Condition:
    known = next((condition for condition in draft.snapshot.status.conditions if condition.type == kind), None)
    changed = draft.now if known is None or known.status != status else known.last_transition_time
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message[:1024],
        observed_generation=draft.snapshot.generation,
        last_transition_time=changed,
    )


def _ready(draft: Draft) -> tuple[Truth, str, str]:
    stable = draft.stable
    if draft.status.stable_revision is None:
        return "False", "NothingServes", draft.status.message or "no revision serves yet"
    if stable is None or not stable.ready:
        return "False", "StableNotReady", f"{draft.status.stable_revision} has no pod that takes requests"
    return "True", "Serving", f"{stable.name} serves"


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


def _approved(draft: Draft) -> tuple[Truth, str, str]:
    if draft.status.phase == "AwaitingApproval":
        return "False", "AwaitingApproval", draft.status.message
    return "True", "NothingToApprove", "no step waits for an approval"


def _in_sync(draft: Draft) -> tuple[Truth, str, str]:
    traffic = draft.snapshot.traffic
    if traffic.in_sync:
        return "True", "InSync", traffic.message or "the routes are as they should be"
    return "False", "OutOfSync", traffic.message or "the gateway has not followed yet"


def _progressing(draft: Draft) -> tuple[Truth, str, str]:
    phase = draft.status.phase
    return ("True" if phase in _UNDER_WAY else "False"), phase, draft.status.message or phase


def _degraded(draft: Draft) -> tuple[Truth, str, str]:
    faults = [message for window in draft.snapshot.spec.freeze_windows if (message := fault(window)) is not None]
    if faults:
        return "True", "InvalidSpec", "; ".join(faults)
    if draft.status.phase == "Rejected":
        return "True", "Rejected", draft.status.message
    stable = draft.stable
    if draft.status.stable_revision is not None and (stable is None or not stable.ready):
        return "True", "StableNotReady", f"{draft.status.stable_revision} has no pod that takes requests"
    return "False", "AsExpected", "nothing is wrong"
