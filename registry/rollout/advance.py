"""The steps of an attempt, from the first pod to all of the traffic. PURE."""

from __future__ import annotations

from datetime import datetime, timedelta

from registry.api.served_model import FreezeWindow, Gate, Phase, Step
from registry.rollout.actions import give_up
from registry.rollout.draft import Draft
from registry.rollout.freeze import fault, frozen_until
from registry.rollout.gates import Verdict, judge, needs_online_gates, worst
from registry.rollout.snapshot import NotFound, Target, Unknown

_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 5.0, 60.0


def step(draft: Draft) -> None:
    """Do what can be done now. At most one change of traffic in a decision: the gateway must follow it first."""
    candidate = draft.candidate
    if candidate is None:
        # Its ModelRevision was written a moment ago, or somebody deleted it: it is made (again).
        target = draft.snapshot.resolution
        draft.create = target if isinstance(target, Target) else None
        _wait(draft, "Validating", f"{draft.status.candidate_revision} is being made")
        return
    if candidate.fault is not None:
        give_up(draft, "NotReady", f"{candidate.name} cannot be served: {candidate.fault}")
        return
    if _is_refused(draft):
        return
    if not candidate.ready:
        if candidate.lost:
            _give_back(draft)
        why = f": {candidate.waits_for}" if candidate.waits_for else ""
        _wait(draft, _phase_of_waiting(draft), f"{candidate.name} waits for its pods to be ready{why}")
        return
    if not draft.snapshot.traffic.in_sync:
        message = draft.snapshot.traffic.message or "the gateway has not followed yet"
        _wait(draft, _phase_of_waiting(draft), f"{candidate.name}: {message}")
        return
    if draft.status.paused is not None:
        _wait_no_more(draft)
        paused = draft.status.paused
        draft.phase("Paused", f"paused by {paused.by}" + (f": {paused.reason}" if paused.reason else ""))
        return
    _walk(draft)


def goes_back(draft: Draft) -> bool:
    """Give back what a candidate that fails gets, which needs no MLflow; tell whether the attempt is given up."""
    candidate = draft.candidate
    if candidate is None or draft.attempt.undo:
        return False
    if candidate.fault is not None:
        give_up(draft, "NotReady", f"{candidate.name} cannot be served: {candidate.fault}")
        return True
    if candidate.lost:
        _give_back(draft)
    step = draft.current_step
    gate = None if step is None else step.gate
    if gate is None or draft.status.paused is not None or not needs_online_gates(draft.snapshot):
        return False
    verdict = draft.judge(online_gates(draft.snapshot.spec.gates, gate.names))
    if verdict is None or verdict.state != "Failed":
        return False
    give_up(draft, "GateFailed", f"{candidate.name}: {verdict.message}")
    return True


def _give_back(draft: Draft) -> None:
    """Let the stable revision have what a candidate got that has no ready pod any more; its last weight is redone."""
    stable, attempt = draft.stable, draft.attempt
    if stable is None or not stable.ready or not (attempt.weight or attempt.match or attempt.shadow_percent):
        return
    steps = draft.snapshot.spec.rollout.steps[: attempt.step + 1]
    giving = [number for number, step in enumerate(steps) if step.set_weight or step.match or step.shadow]
    draft.route(weight=0, match=None, shadow_percent=0)
    draft.set_attempt(step=max(giving, default=0), step_started_at=draft.now, ready_at=None, approved_by=None)
    name = draft.status.candidate_revision
    draft.event("GaveBack", f"{name} has no ready pod any more: {stable.name} gets its requests", warning=True)


def is_overdue(draft: Draft) -> bool:
    """Tell whether the attempt waits longer than its deadline."""
    since = draft.attempt.waits_since
    deadline = timedelta(seconds=draft.snapshot.spec.rollout.progress_deadline_seconds)
    return since is not None and draft.now >= since + deadline


def finish_undo(draft: Draft) -> None:
    """Bring a former revision back whose pods had gone: no steps, no gates, all traffic as soon as they are there."""
    candidate = draft.candidate
    if candidate is None or candidate.fault is not None:
        why = "its ModelRevision is gone" if candidate is None else candidate.fault
        give_up(draft, "NotReady", f"{draft.status.candidate_revision} cannot be brought back: {why}")
        return
    if not candidate.ready or not draft.snapshot.traffic.in_sync:
        what = "its pods" if not candidate.ready else "the gateway"
        _wait(draft, "Promoting", f"goes back to {candidate.name}, and waits for {what}")
        return
    if draft.attempt.weight < 100:
        draft.route(weight=100)
        draft.phase("Promoting", f"{candidate.name} gets everything again")
        draft.look_again_in(0)
        return
    make_stable(draft, bake=False)


def _is_refused(draft: Draft) -> bool:
    """Judge what needs no traffic: the signature, and the offline gates. Give up where they fail."""
    if draft.attempt.weight or draft.attempt.step:
        return False
    candidate, stable = draft.candidate, draft.stable
    if candidate is None:
        raise AssertionError("a candidate is judged that is not there")
    if stable is None and draft.status.stable_revision is not None:
        lost = f"the ModelRevision {draft.status.stable_revision} was deleted, and tells no more what clients send"
        _wait(draft, "Validating", f"{candidate.name}: {lost}")
        return True
    before, now = (stable.spec.feature_names, candidate.spec.feature_names) if stable else ([], [])
    if before != now:
        give_up(draft, "Incompatible", f"{candidate.name} takes {', '.join(now)}; clients send {', '.join(before)}")
        return True
    verdict = draft.judge(gate for gate in draft.snapshot.spec.gates if gate.mlflow is not None)
    return _holds(draft, verdict, "Validating")


def _holds(draft: Draft, verdict: Verdict | None, phase: Phase) -> bool:
    """Tell whether a verdict keeps the attempt where it is (or ends it)."""
    if verdict is None or verdict.state == "Passed":
        return False
    if verdict.state == "Failed":
        give_up(draft, "GateFailed", f"{draft.status.candidate_revision}: {verdict.message}")
    elif verdict.state == "Unavailable":
        hold_unavailable(draft, verdict.message)
    else:
        _wait(draft, phase, f"{draft.status.candidate_revision}: {verdict.message}")
        draft.look_again_in(_LOOK_SECONDS)  # what a source will say is told by nobody
    return True


def hold_unavailable(draft: Draft, message: str) -> None:
    """Stay where we are while a source is away; the step's deadline waits for it."""
    if draft.attempt.unavailable_since is None:
        draft.set_attempt(unavailable_since=draft.now)
    draft.set(message=message)
    draft.look_again_in(_LOOK_SECONDS)


def _available_again(draft: Draft) -> None:
    """Give the wait back the time that its source was away."""
    attempt = draft.attempt
    if attempt.unavailable_since is None:
        return
    waits = attempt.waits_since
    if waits is not None:
        waits += draft.now - max(attempt.unavailable_since, waits)
    draft.set_attempt(unavailable_since=None, waits_since=waits)


def _wait_no_more(draft: Draft) -> None:
    """Note that pods, gateway and data are as they should be: what may last as long as people like has no deadline."""
    if draft.attempt.waits_since is not None or draft.attempt.unavailable_since is not None:
        draft.set_attempt(waits_since=None, unavailable_since=None)


def _wait(draft: Draft, phase: Phase, message: str) -> None:
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


def _pause(waited: timedelta) -> timedelta:
    """Return when to look again: what becomes ready is told, and a thousand that wait are not to be polled."""
    return min(max(waited / 4, timedelta(seconds=_LOOK_SECONDS)), timedelta(seconds=_LONGEST_LOOK_SECONDS))


def _phase_of_waiting(draft: Draft) -> Phase:
    if draft.attempt.shadow_percent:
        return "Shadowing"
    if draft.attempt.weight == 100 and draft.status.stable_revision is not None:
        return "Promoting"
    return "Progressing" if draft.attempt.weight or draft.attempt.step else "Validating"


def _walk(draft: Draft) -> None:
    """Go from step to step until one holds."""
    while (step := draft.current_step) is not None:
        if step.gate is None:
            _wait_no_more(draft)
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
    _wait_no_more(draft)
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


def usable_windows(draft: Draft) -> list[FreezeWindow]:
    """Return the freeze windows that can be followed."""
    return [window for window in draft.snapshot.spec.freeze_windows if fault(window) is None]


def _is_frozen(draft: Draft) -> bool:
    until = frozen_until(usable_windows(draft), draft.now)
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
    return not _holds(draft, draft.judge(online_gates(draft.snapshot.spec.gates, names)), "Progressing")


def online_gates(gates: list[Gate], names: list[str] | None) -> list[Gate]:
    """Return the online gates of a step: those it names, else all."""
    return [gate for gate in gates if gate.prometheus is not None and (names is None or gate.name in names)]


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


def make_stable(draft: Draft, *, bake: bool) -> None:
    """Let the candidate be the stable revision; with ``bake`` it is watched for a while."""
    rollback, former = draft.snapshot.spec.rollback, draft.status.stable_revision
    name = draft.status.candidate_revision
    if name is None:
        raise AssertionError("there is no candidate to make stable")
    # What somebody went back from is not kept for another way back.
    kept = None if draft.attempt.undo else former
    warm = max(rollback.keep_warm_seconds, rollback.auto_window_seconds if bake else 0)
    baking = draft.now + timedelta(seconds=rollback.auto_window_seconds) if bake else None
    draft.set(
        stable_revision=name,
        candidate_revision=None,
        attempt=None,
        paused=None,
        previous_revision=kept,
        warm_until=None if kept is None else draft.now + timedelta(seconds=warm),
        baking_until=baking if baking is not None and baking > draft.now else None,
    )
    if former is not None and draft.rejection_of(former) is None:
        draft.outcome(former, "Superseded", "Superseded", f"{name} took over")
    draft.outcome(name, "Stable", "Promoted", f"{name} serves everything")
    if draft.status.baking_until is not None:
        draft.phase("Baking", f"{name} serves everything and is watched until {_time(draft.status.baking_until)}")
    else:
        draft.phase("Healthy", f"{name} serves")
    draft.look_again_in(0)


def _time(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"


def plan(draft: Draft) -> list[str]:
    """Return what would be done if it were allowed."""
    target = draft.snapshot.resolution
    if isinstance(target, Unknown | NotFound):
        return [target.message]
    if target.revision == draft.status.stable_revision:
        return [f"{target.revision} serves already: nothing would be done"]
    rejection = draft.rejection_of(target.revision)
    if rejection is not None:
        return [f"{target.revision} is rejected ({rejection.message}): nothing would be done"]
    stable = draft.stable
    if stable is not None and stable.spec.feature_names != target.spec.feature_names:
        takes, sent = ", ".join(target.spec.feature_names), ", ".join(stable.spec.feature_names)
        return [f"{target.revision} would be rejected: it takes {takes}; clients send {sent}"]
    frozen = frozen_until(usable_windows(draft), draft.now)
    lines = [] if frozen is None else [f"wait until {frozen:%Y-%m-%d %H:%M %Z}: a freeze window"]
    lines.append(f"create {target.revision} (version {target.spec.version}, {target.spec.digest})")
    measured, has_stable = draft.snapshot.measurements, stable is not None
    offline = (gate for gate in draft.snapshot.spec.gates if gate.mlflow is not None)
    verdict = worst(judge(gate, measured.get(gate.name), has_stable=has_stable) for gate in offline)
    if verdict is not None:
        lines.append(f"offline gates: {verdict.state} ({verdict.message})")
    lines += [_planned(step) for step in draft.snapshot.spec.rollout.steps]
    return [*lines, f"give {target.revision} everything, and keep {draft.status.stable_revision or 'nothing'} warm"]


def _planned(step: Step) -> str:
    kind, what = next(iter(step.dump().items()))
    return f"{kind} {what}" if what != {} else str(kind)
