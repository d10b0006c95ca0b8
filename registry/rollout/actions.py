"""What people's actions do to a rollout. PURE.

Aborts and undos come first, whenever they were created: an abort is latched and beats a promote. Only a Retry that is
older goes before them, since it did not mean what they reject. Each action takes effect once; one that finds nothing to
do is ignored, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from registry.api.rollout_action import Kind
from registry.api.status import Attempt, Pause
from registry.rollout.draft import MOST_REPORTED, Draft
from registry.rollout.snapshot import Action, Revision

_URGENT: tuple[Kind, ...] = ("Abort", "Undo")


def fold_in(draft: Draft) -> None:
    """Let new actions take effect, so many at a time that what came of each can be told."""
    seen = set(draft.status.processed_actions)
    new = {action.uid: action for action in draft.snapshot.actions if action.uid not in seen}
    urgent = [action.created_at for action in new.values() if action.kind in _URGENT]
    ordered = sorted(new.values(), key=partial(_rank, max(urgent, default=None)))
    for action in ordered[:MOST_REPORTED]:
        _EFFECTS[action.kind](draft, action)
    if len(ordered) > MOST_REPORTED:
        draft.look_again_in(0)


def _rank(last_urgent: datetime | None, action: Action) -> tuple[int, datetime, str]:
    if action.kind in _URGENT:
        turn = 1
    else:
        is_older = last_urgent is not None and action.created_at <= last_urgent
        turn = 0 if action.kind == "Retry" and is_older else 2
    return turn, action.created_at, action.uid


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
    candidate, stable = status.candidate_revision, status.stable_revision
    if _is_rolling_back(draft) and action.to_revision in (None, candidate, stable):
        draft.ignored(action, f"it goes back to {stable or 'nothing'} already")
        return
    if not _is_rolling_back(draft) and _is_undoing(draft) and action.to_revision in (None, candidate):
        draft.ignored(action, f"it goes back to {candidate} already")
        return
    if candidate is not None and action.to_revision in (None, stable):
        give_up(draft, "Undone", f"the rollout of {candidate} was undone by {action.by}", by=action.by)
        draft.applied(action, f"went back from {candidate} to {stable or 'nothing'}")
        return
    if action.to_revision is not None and action.to_revision == stable:
        draft.ignored(action, f"{stable} serves already")
        return
    target = _undo_target(draft, action)
    if target is None:
        wanted = action.to_revision or "former revision"
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
    stable, previous = draft.status.stable_revision, draft.revision(draft.status.previous_revision)
    if action.to_revision is not None:
        return draft.revision(action.to_revision)
    if previous is not None and draft.rejection_of(previous.name) is None:
        return previous
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


def _is_undoing(draft: Draft) -> bool:
    """Tell whether a former revision's pods are being started again."""
    return draft.status.attempt is not None and draft.status.attempt.undo


def _has_steps(draft: Draft) -> bool:
    """Tell whether a rollout is under way, and not a way back."""
    return draft.status.attempt is not None and not _is_rolling_back(draft) and not _is_undoing(draft)


def _promote(draft: Draft, action: Action) -> None:
    candidate = draft.status.candidate_revision
    if not _has_steps(draft):
        draft.ignored(action, "no rollout is under way that could be promoted")
        return
    draft.set_attempt(promoted=True)
    draft.set(paused=None)
    draft.applied(action, f"skips the remaining steps of {candidate}")


def _approve(draft: Draft, action: Action) -> None:
    step = draft.current_step
    if step is None or step.approval is None or not _has_steps(draft):
        draft.ignored(action, "no step waits for an approval")
        return
    draft.set_attempt(approved_by=action.by)
    draft.applied(action, f"approved {draft.status.candidate_revision}")


def _pause(draft: Draft, action: Action) -> None:
    if not _has_steps(draft):
        draft.ignored(action, "no rollout is under way that could be paused")
        return
    draft.set(paused=Pause(at=draft.now, by=action.by, reason=action.reason))
    draft.applied(action, f"paused the rollout of {draft.status.candidate_revision}")


def _resume(draft: Draft, action: Action) -> None:
    if draft.status.paused is not None:
        draft.set(paused=None)
        draft.applied(action, "resumed the rollout")
        return
    step = draft.current_step
    if step is not None and step.pause is not None and _has_steps(draft):
        draft.set_attempt(resumed=True)
        draft.applied(action, "ended the pause")
        return
    draft.ignored(action, "nothing is paused")


def _retry(draft: Draft, action: Action) -> None:
    if not draft.rejections:
        draft.ignored(action, "no revision is rejected")
        return
    names = ", ".join(rejection.revision for rejection in draft.rejections)
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
