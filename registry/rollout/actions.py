"""What people's actions do to a rollout. PURE.

Aborts and undos come first, whenever they were created: an abort is latched and beats a promote. Each action takes
effect once; one that finds nothing to do is ignored, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from registry.api.rollout_action import Kind
from registry.api.status import Attempt, Pause
from registry.rollout.draft import Draft
from registry.rollout.snapshot import Action, Revision

_URGENT: tuple[Kind, ...] = ("Abort", "Undo")


def fold_in(draft: Draft) -> None:
    """Let every new action take effect."""
    seen = set(draft.status.processed_actions)
    for action in sorted(draft.snapshot.actions, key=_rank):
        if action.uid not in seen:
            seen.add(action.uid)
            _EFFECTS[action.kind](draft, action)


def _rank(action: Action) -> tuple[bool, Any, str]:
    return (action.kind not in _URGENT, action.created_at, action.uid)


def _abort(draft: Draft, action: Action) -> None:
    candidate = draft.status.candidate_revision
    if candidate is None:
        draft.ignored(action, "no rollout is under way that could be aborted")
        return
    if _is_rolling_back(draft):
        draft.ignored(action, f"{candidate} is being rolled back already")
        return
    give_up(draft, "Aborted", f"the rollout of {candidate} was aborted by {action.by}", by=action.by)
    draft.applied(action, f"aborted the rollout of {candidate}")


def _undo(draft: Draft, action: Action) -> None:
    status = draft.status
    candidate = status.candidate_revision
    if candidate is not None and _is_rolling_back(draft) and action.to_revision in (None, candidate):
        draft.ignored(action, f"{candidate} is being rolled back already")
        return
    if candidate is not None and action.to_revision is None:
        give_up(draft, "Undone", f"the rollout of {candidate} was undone by {action.by}", by=action.by)
        draft.applied(action, f"went back from {candidate} to {status.stable_revision or 'nothing'}")
        return
    target = _undo_target(draft, action)
    if target is None:
        wanted = action.to_revision or "a former revision"
        draft.ignored(action, f"there is no {wanted} to go back to")
        return
    if target.served_until is None and target.name != status.previous_revision:
        # Undo passes over every gate, so it leads only to where those were passed before.
        draft.ignored(action, f"{target.name} has never served: there is nothing to go back to")
        return
    undo_to(draft, target, "Undone", f"{action.by} went back to {target.name}", by=action.by)
    draft.applied(action, f"goes back to {target.name}")


def _undo_target(draft: Draft, action: Action) -> Revision | None:
    """Return the revision to go back to: the one that was named, the warm one, or the last that served before."""
    stable = draft.status.stable_revision
    if action.to_revision is not None:
        return draft.revision(action.to_revision) if action.to_revision != stable else None
    if draft.status.previous_revision is not None:
        return draft.revision(draft.status.previous_revision)
    former = [
        revision
        for revision in draft.snapshot.revisions.values()
        if revision.served_until is not None and revision.name != stable and draft.rejection_of(revision.name) is None
    ]
    return max(former, key=lambda revision: (revision.served_until, revision.name), default=None)


def undo_to(draft: Draft, target: Revision, reason: str, message: str, by: str | None) -> None:
    """Go back to ``target``: at once if its pods are warm, else as soon as they are; what serves now is rejected."""
    former, candidate = draft.status.stable_revision, draft.status.candidate_revision
    if candidate is not None and candidate != target.name:
        draft.reject(candidate, reason, message, by)
        draft.outcome(candidate, "RolledBack", reason, message, by)
    if former is not None:
        draft.reject(former, reason, message, by, served=True)
        draft.outcome(former, "RolledBack", reason, message, by)
    kept = [rejection for rejection in draft.status.rejected_revisions if rejection.revision != target.name]
    draft.set(rejected_revisions=kept, baking_until=None, paused=None)
    if target.ready and target.name == draft.status.previous_revision:
        draft.set(
            stable_revision=target.name,
            candidate_revision=None,
            attempt=None,
            previous_revision=None,
            warm_until=None,
        )
        draft.outcome(target.name, "Stable", reason, message, by)
        draft.phase("RollingBack", message)
        draft.look_again_in(0)
        return
    number = draft.status.attempts + 1
    attempt = Attempt(id=f"{target.name}/{number}", step_started_at=draft.now, promoted=True, undo=True)
    draft.set(candidate_revision=target.name, attempt=attempt, attempts=number, gates=[])
    draft.phase("Promoting", f"{message}; its pods start first")


def give_up(draft: Draft, reason: str, message: str, by: str | None = None) -> None:
    """Take all traffic from the candidate, and reject it. Latched: from here the only way is back."""
    candidate = draft.status.candidate_revision
    if candidate is None:
        raise AssertionError("there is no candidate to give up")
    draft.reject(candidate, reason, message, by)
    draft.outcome(candidate, "Rejected", reason, message, by)
    draft.set_attempt(weight=0, shadow_percent=0, match=None)
    draft.set(paused=None)
    draft.phase("RollingBack", message)
    draft.event(reason, message, warning=True)
    draft.look_again_in(0)


def _is_rolling_back(draft: Draft) -> bool:
    return draft.status.phase == "RollingBack"


def _promote(draft: Draft, action: Action) -> None:
    candidate = draft.status.candidate_revision
    if candidate is None or _is_rolling_back(draft):
        draft.ignored(action, "no rollout is under way that could be promoted")
        return
    draft.set_attempt(promoted=True)
    draft.set(paused=None)
    draft.applied(action, f"skips the remaining steps of {candidate}")


def _approve(draft: Draft, action: Action) -> None:
    attempt, steps = draft.status.attempt, draft.snapshot.spec.rollout.steps
    waiting = attempt is not None and attempt.step < len(steps) and steps[attempt.step].approval is not None
    if not waiting or _is_rolling_back(draft):
        draft.ignored(action, "no step waits for an approval")
        return
    draft.set_attempt(approved_by=action.by)
    draft.applied(action, f"approved {draft.status.candidate_revision}")


def _pause(draft: Draft, action: Action) -> None:
    if draft.status.attempt is None or _is_rolling_back(draft):
        draft.ignored(action, "no rollout is under way that could be paused")
        return
    draft.set(paused=Pause(at=draft.now, by=action.by, reason=action.reason))
    draft.applied(action, f"paused the rollout of {draft.status.candidate_revision}")


def _resume(draft: Draft, action: Action) -> None:
    if draft.status.paused is not None:
        draft.set(paused=None)
        draft.applied(action, "resumed the rollout")
        return
    attempt, steps = draft.status.attempt, draft.snapshot.spec.rollout.steps
    if attempt is not None and attempt.step < len(steps) and steps[attempt.step].pause is not None:
        draft.set_attempt(resumed=True)
        draft.applied(action, "ended the pause")
        return
    draft.ignored(action, "nothing is paused")


def _retry(draft: Draft, action: Action) -> None:
    if not draft.status.rejected_revisions:
        draft.ignored(action, "no revision is rejected")
        return
    names = ", ".join(rejection.revision for rejection in draft.status.rejected_revisions)
    draft.set(rejected_revisions=[])
    draft.applied(action, f"tries {names} again")


_Effects = dict[Kind, Callable[[Draft, Action], None]]
_EFFECTS: _Effects = {
    "Abort": _abort,
    "Undo": _undo,
    "Promote": _promote,
    "Approve": _approve,
    "Pause": _pause,
    "Resume": _resume,
    "Retry": _retry,
}
