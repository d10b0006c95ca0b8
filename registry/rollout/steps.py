"""The steps of an attempt: weights, pauses, gates, approvals, shadows and matches, and at last everything. PURE.

At most one change of traffic in a decision: the gateway must follow it first.
"""

from __future__ import annotations

from datetime import timedelta

from registry.api.served_model import Step
from registry.rollout.actions import give_up
from registry.rollout.draft import Draft
from registry.rollout.gates import needs_online_gates, online_gates
from registry.rollout.promotion import make_stable
from registry.rollout.waiting import holds, wait_no_more


def walk(draft: Draft) -> None:
    """Go from step to step until one holds."""
    while (step := draft.current_step) is not None:
        if step.gate is None:
            wait_no_more(draft)
        if _is_left_over(draft, step) or not _is_done(draft, step):
            return
        draft.set_attempt(
            step=draft.attempt.step + 1,
            step_started_at=draft.now,
            ready_at=None,
            approved_by=None,
            resumed=False,
            unavailable_since=None,
            waits_since=None,
        )
    wait_no_more(draft)
    _promote(draft)


def _is_left_over(draft: Draft, step: Step) -> bool:
    """Take away a mirror or a header whose step somebody took out of the spec; tell whether there was one."""
    mirrors = draft.attempt.shadow_percent and step.shadow is None
    matches = draft.attempt.match is not None and draft.attempt.match not in [
        one.match for one in draft.snapshot.spec.rollout.steps
    ]
    if mirrors:
        draft.route(shadow_percent=0)
    if matches:
        draft.route(match=None)
    if mirrors or matches:
        draft.look_again_in(0)
    return bool(mirrors or matches)


def _is_done(draft: Draft, step: Step) -> bool:
    """Do a step, or tell that it is done."""
    if step.set_weight is not None:
        return _weight_is(draft, step.set_weight)
    if step.pause is not None:
        return _pause_is_over(draft, step.pause.duration_seconds)
    if step.gate is not None:
        return _gates_pass(draft, step.gate.names)
    if step.approval is not None:
        return _is_approved(draft)
    if step.shadow is not None:
        return _is_shadowed(draft, step.shadow.percent, step.shadow.duration_seconds)
    if step.match is not None:
        if draft.attempt.match != step.match:
            draft.route(match=step.match)
            draft.phase("Progressing", f"requests with {step.match.header}: {step.match.value} go to the candidate")
            draft.look_again_in(0)
            return False
        return True
    return True


def _weight_is(draft: Draft, weight: int) -> bool:
    """Tell whether the candidate has ``weight``, or give it that much. The first revision gets everything at once."""
    if draft.status.stable_revision is None and weight:
        weight = 100
    if draft.attempt.weight == weight:
        return True
    if weight > draft.attempt.weight and _is_frozen(draft):
        return False
    draft.route(weight=weight, match=None, shadow_percent=0)
    draft.phase("Progressing", f"{draft.status.candidate_revision} gets {weight} % of the requests")
    draft.look_again_in(0)
    return False


def _is_frozen(draft: Draft) -> bool:
    until = draft.frozen_until
    if until is None:
        return False
    draft.phase("Frozen", f"no weight rises until {until:%Y-%m-%d %H:%M %Z}: a freeze window")
    draft.look_again_at(until)
    return True


def _pause_is_over(draft: Draft, seconds: int | None) -> bool:
    if draft.attempt.resumed:
        return True
    end = None if seconds is None else draft.attempt.step_started_at + timedelta(seconds=seconds)
    if end is not None and draft.now >= end:
        return True
    draft.phase("Paused", "until somebody resumes" if end is None else f"until {end:%H:%M:%S}")
    if end is not None:
        draft.look_again_at(end)
    return False


def _gates_pass(draft: Draft, names: list[str] | None) -> bool:
    if not needs_online_gates(draft.snapshot):
        # The step was reached just now: Prometheus is asked for the next decision.
        draft.phase("Progressing", f"{draft.status.candidate_revision}: its gates are judged")
        draft.look_again_in(0)
        return False
    return not holds(draft, draft.judge(online_gates(draft.snapshot.spec.gates, names)), "Progressing")


def _is_approved(draft: Draft) -> bool:
    if draft.attempt.approved_by is not None:
        return True
    draft.phase("AwaitingApproval", f"{draft.status.candidate_revision} waits for somebody's approval")
    return False


def _is_shadowed(draft: Draft, percent: int, seconds: int) -> bool:
    """Copy requests to the candidate for a time. Where the gateway cannot, the step is refused, not skipped."""
    if draft.status.stable_revision is None:
        return True
    if draft.snapshot.traffic.can_mirror is False:
        give_up(draft, "ShadowUnsupported", "the gateway cannot copy requests, and a shadow step asks for that")
        return False
    doubt = "" if draft.snapshot.traffic.can_mirror else " (the GatewayClass does not say whether it can)"
    if draft.attempt.shadow_percent != percent:
        draft.set_attempt(ready_at=None)
        draft.route(shadow_percent=percent)
        draft.phase("Shadowing", f"{percent} % of the requests are copied to {draft.status.candidate_revision}{doubt}")
        draft.look_again_in(0)
        return False
    began = draft.attempt.ready_at or draft.now
    end = began + timedelta(seconds=seconds)
    if draft.now < end:
        draft.set_attempt(ready_at=began)
        whom = draft.status.candidate_revision
        draft.phase("Shadowing", f"requests are copied to {whom} until {end:%H:%M:%S}{doubt}")
        draft.look_again_at(end)
        return False
    draft.set_attempt(shadow_percent=0)
    return True


def _promote(draft: Draft) -> None:
    """Give the candidate everything, then make it the stable revision."""
    if draft.attempt.weight < 100:
        if _is_frozen(draft):
            return
        draft.route(weight=100, match=None, shadow_percent=0)
        draft.phase("Promoting", f"{draft.status.candidate_revision} gets everything")
        draft.look_again_in(0)
        return
    make_stable(draft, bake=draft.status.stable_revision is not None)
