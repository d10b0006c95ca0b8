"""How an attempt waits, and for how long: for pods, the gateway and data, until a deadline. PURE."""

from __future__ import annotations

from datetime import timedelta

from registry.api.served_model import Phase
from registry.rollout.actions import give_up
from registry.rollout.draft import Draft
from registry.rollout.gates import Verdict

_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 5.0, 60.0


def wait(draft: Draft, phase: Phase, message: str) -> None:
    """Wait for pods, traffic or data; give up when the deadline is over."""
    _available_again(draft)
    since = draft.attempt.waits_since or draft.now
    if draft.attempt.waits_since is None:
        draft.set_attempt(waits_since=since)
    deadline = since + timedelta(seconds=draft.snapshot.spec.rollout.progress_deadline_seconds)
    if is_overdue(draft):
        if draft.attempt.undo:
            draft.phase("Promoting", f"{message} (longer than the deadline; nothing better is known)")
            draft.look_again_in(_LOOK_SECONDS)
            return
        give_up(draft, "DeadlineExceeded", f"{message}, longer than the deadline")
        return
    draft.phase(phase, message)
    draft.look_again_at(min(deadline, draft.now + _pause(draft.now - since)))


def wait_no_more(draft: Draft) -> None:
    """Note that pods, gateway and data are as they should be: what may last as long as people like has no deadline."""
    if draft.attempt.waits_since is not None or draft.attempt.unavailable_since is not None:
        draft.set_attempt(waits_since=None, unavailable_since=None)


def is_overdue(draft: Draft) -> bool:
    """Tell whether the attempt waits longer than its deadline."""
    since = draft.attempt.waits_since
    deadline = timedelta(seconds=draft.snapshot.spec.rollout.progress_deadline_seconds)
    return since is not None and draft.now >= since + deadline


def hold_unavailable(draft: Draft, message: str) -> None:
    """Stay where we are while a source is away; the step's deadline waits for it."""
    if draft.attempt.unavailable_since is None:
        draft.set_attempt(unavailable_since=draft.now)
    draft.set(message=message)
    draft.look_again_in(_LOOK_SECONDS)


def holds(draft: Draft, verdict: Verdict | None, phase: Phase) -> bool:
    """Tell whether a verdict keeps the attempt where it is (or ends it)."""
    if verdict is None or verdict.state == "Passed":
        return False
    if verdict.state == "Failed":
        give_up(draft, "GateFailed", f"{draft.status.candidate_revision}: {verdict.message}")
    elif verdict.state == "Unavailable":
        hold_unavailable(draft, verdict.message)
    else:
        wait(draft, phase, f"{draft.status.candidate_revision}: {verdict.message}")
        draft.look_again_in(_LOOK_SECONDS)  # what a source will say is told by nobody
    return True


def phase_of_waiting(draft: Draft) -> Phase:
    """Return the phase that what is waited for belongs to."""
    if draft.attempt.shadow_percent:
        return "Shadowing"
    if draft.attempt.weight == 100 and draft.status.stable_revision is not None:
        return "Promoting"
    return "Progressing" if draft.attempt.weight or draft.attempt.step else "Validating"


def _available_again(draft: Draft) -> None:
    """Give the wait back the time that its source was away."""
    attempt = draft.attempt
    if attempt.unavailable_since is None:
        return
    waits = attempt.waits_since
    if waits is not None:
        waits += draft.now - max(attempt.unavailable_since, waits)
    draft.set_attempt(unavailable_since=None, waits_since=waits)


def _pause(waited: timedelta) -> timedelta:
    """Return when to look again: what becomes ready is told, and a thousand that wait are not to be polled."""
    return min(max(waited / 4, timedelta(seconds=_LOOK_SECONDS)), timedelta(seconds=_LONGEST_LOOK_SECONDS))
