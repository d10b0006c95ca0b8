"""The next decision about a rollout. PURE.

In order, and the order is the precedence: people's actions; the way back that is under way; what an outage, a
suspension or a plan forbids; another target; the steps of the attempt; baking; rest. All that is written is a status.
Traffic, pods and records elsewhere follow from it alone, so a crash between any two writes changes nothing in the end.
"""

from __future__ import annotations

from registry.api.status import Attempt, Rejection, Resolved
from registry.rollout import clock, conditions
from registry.rollout.actions import fold_in, undo_to
from registry.rollout.advance import advance
from registry.rollout.draft import Draft
from registry.rollout.gates import needs_online_gates
from registry.rollout.intent import Intent
from registry.rollout.plan import plan_of
from registry.rollout.promotion import make_stable
from registry.rollout.snapshot import NotFound, Snapshot, Target, Unknown
from registry.rollout.waiting import hold_unavailable, is_overdue
from registry.rollout.ways_back import finish_undo, goes_back


def decide(snapshot: Snapshot) -> Intent:
    """Return what is to be done now; the same snapshot always gives the same intent."""
    draft = Draft(snapshot, snapshot.status)
    clock.mend(draft)
    _forget_rejections(draft)
    _take_resolution(draft)
    fold_in(draft)
    if draft.status.phase == "RollingBack":
        # Whether the gateway is in sync was read before this decision: of a way back that begins now it says nothing.
        if snapshot.status.phase == "RollingBack":
            _finish_way_back(draft)
    elif draft.status.attempt is not None and draft.status.attempt.undo:
        _finish_undo(draft)
    elif not _held_by_owner(draft):
        _pursue(draft)
    _bake(draft)
    _cool(draft)
    draft.set(observed_generation=snapshot.generation, conditions=conditions.of(draft))
    return Intent(
        status=draft.status,
        create=draft.create,
        outcomes=tuple(draft.outcomes),
        results=tuple(draft.results),
        events=tuple(draft.events),
        look_again=min(draft.due, default=None),
    )


def _take_resolution(draft: Draft) -> None:
    """Take down what the selector means; what it meant before stays while MLflow does not answer."""
    target = draft.snapshot.resolution
    if not isinstance(target, Target):
        return
    known = draft.status.resolved
    if known is None or known.revision != target.revision:
        spec = target.spec
        draft.set(
            resolved=Resolved(
                version=spec.version,
                mlflow_version=spec.mlflow_version,
                digest=spec.digest,
                revision=target.revision,
                at=draft.now,
            ),
            # A rejection holds until the selector resolves elsewhere; this is elsewhere.
            rejected_revisions=[
                rejection.model_copy(update={"lapsed": rejection.lapsed or rejection.revision != target.revision})
                for rejection in draft.status.rejected_revisions
            ],
        )
        draft.event("Resolved", f"{spec.model} is version {spec.version} (MLflow's {spec.mlflow_version})")


def _forget_rejections(draft: Draft) -> None:
    """Let go of rejections that hold no more, once their ModelRevisions say so: a crash must not lose why."""

    def is_open(rejection: Rejection) -> bool:
        revision = draft.revision(rejection.revision)
        return revision is not None and revision.outcome not in ("Rejected", "RolledBack")

    known = draft.status.rejected_revisions
    kept = [rejection for rejection in known if not rejection.lapsed or is_open(rejection)]
    if len(kept) < len(known):
        draft.set(rejected_revisions=kept)


def _finish_way_back(draft: Draft) -> None:
    """Wait until no request goes to what was rejected, then let go of it."""
    if not draft.snapshot.traffic.in_sync:
        waits = draft.snapshot.traffic.message or "the gateway has not followed yet"
        draft.phase("RollingBack", f"{draft.status.message.partition(';')[0]}; {waits}")
        draft.look_again_in(5)
        return
    draft.set(candidate_revision=None, attempt=None)
    _rest(draft)
    draft.look_again_in(0)


def _finish_undo(draft: Draft) -> None:
    """Bring a former revision back; where its pods do not come, what else is wanted takes its place."""
    target = draft.snapshot.resolution
    if (
        isinstance(target, Target)
        and is_overdue(draft)
        and target.revision not in (draft.status.candidate_revision, draft.status.stable_revision)
        and draft.rejection_of(target.revision) is None
    ):
        _supersede(draft, f"{target.revision} is wanted, and the pods of the former revision do not come")
        return
    finish_undo(draft)


def _held_by_owner(draft: Draft) -> bool:
    """Tell whether the spec forbids every change but the way back, and say so."""
    spec = draft.snapshot.spec
    if not (spec.suspend or spec.plan_only):
        draft.set(plan=[])
        return False
    attempt = draft.status.attempt
    if attempt is not None and attempt.waits_since is not None:
        draft.set_attempt(waits_since=None)  # no deadline runs meanwhile
    plan = plan_of(draft) if spec.plan_only else []
    draft.set(plan=plan, message="; ".join(plan) or "suspended: nothing changes but by abort or undo")
    return True


def _pursue(draft: Draft) -> None:
    """Bring the target to all of the traffic, as far as it goes now."""
    target = draft.snapshot.resolution
    if isinstance(target, NotFound):
        _without_target(draft, target.message)
    elif isinstance(target, Unknown):
        if draft.status.attempt is not None:
            if not goes_back(draft):
                hold_unavailable(draft, target.message)
        elif draft.status.phase != "Frozen":
            _rest(draft)
    elif draft.status.candidate_revision not in (None, target.revision):
        _replace_candidate(draft, target)
    elif target.revision == draft.status.stable_revision:
        _rest(draft)
    elif draft.status.candidate_revision == target.revision:
        advance(draft)
    elif draft.rejection_of(target.revision) is not None or _is_baking(draft):
        _rest(draft)
    else:
        _begin(draft, target)


def _without_target(draft: Draft, message: str) -> None:
    """Serve on what is served; a candidate that the selector no longer means is let go."""
    if draft.status.candidate_revision is not None:
        _supersede(draft, f"the selector means nothing any more: {message}")
        return
    if draft.status.stable_revision is None:
        draft.phase("Pending", message)
    else:
        _rest(draft)


def _replace_candidate(draft: Draft, target: Target) -> None:
    _supersede(draft, f"{target.revision} is wanted instead")


def _supersede(draft: Draft, message: str) -> None:
    """Take the candidate's traffic away without rejecting it; the next decision begins anew once that is done."""
    candidate = draft.status.candidate_revision
    if draft.status.stable_revision is None and draft.attempt.weight:
        # It is all that serves: it goes on until what is wanted instead has taken over, step by step.
        make_stable(draft, bake=False)
        return
    if candidate is not None:
        draft.outcome(candidate, "Superseded", "Superseded", message)
    draft.set_attempt(weight=0, shadow_percent=0, match=None)
    draft.set(paused=None)
    draft.phase("RollingBack", message)
    draft.look_again_in(0)


def _begin(draft: Draft, target: Target) -> None:
    """Start an attempt, unless it is a time in which nothing starts."""
    frozen = draft.frozen_until
    if frozen is not None:
        draft.phase("Frozen", f"{target.revision} waits until {frozen:%Y-%m-%d %H:%M %Z}: a freeze window")
        draft.look_again_at(frozen)
        return
    number = draft.status.attempts + 1
    draft.create = target
    draft.set(
        candidate_revision=target.revision,
        attempt=Attempt(id=f"{target.revision}/{number}", step_started_at=draft.now),
        attempts=number,
        paused=None,
        rejected_revisions=[one for one in draft.status.rejected_revisions if one.revision != target.revision],
        gates=[],
    )
    draft.phase("Validating", f"{target.revision}: its pods start, and its gates are judged")
    draft.look_again_in(0)


def _bake(draft: Draft) -> None:
    """Watch a promoted revision, and go back by ourselves where its online gates fail."""
    until, stable = draft.status.baking_until, draft.status.stable_revision
    if until is None or stable is None or draft.status.phase == "RollingBack" or draft.snapshot.spec.suspend:
        return
    if draft.snapshot.status.baking_until is None:
        draft.look_again_in(0)  # it was promoted just now: Prometheus is asked for the next decision
        return
    gates = [gate for gate in draft.snapshot.spec.gates if gate.prometheus is not None]
    verdict = draft.judge(gates) if needs_online_gates(draft.snapshot) else None
    previous = draft.revision(draft.status.previous_revision)
    if verdict is not None and verdict.state == "Failed" and previous is not None:
        undo_to(draft, previous, "GateFailed", f"{stable} failed while baking: {verdict.message}", by=None)
        draft.event("RolledBack", verdict.message, warning=True)
    elif draft.now >= until:
        draft.set(baking_until=None)
        if draft.status.phase == "Baking":
            _rest(draft)
        draft.look_again_in(0)  # what is wanted by now may begin
    else:
        draft.look_again_at(until)
        draft.look_again_in(5)


def _cool(draft: Draft) -> None:
    """Let the former revision go when its time is over, or it serves again."""
    previous, until = draft.status.previous_revision, draft.status.warm_until
    if previous is None:
        return
    if until is None or draft.now >= until or previous == draft.status.stable_revision:
        draft.set(previous_revision=None, warm_until=None)
    else:
        draft.look_again_at(until)


def _rest(draft: Draft) -> None:
    """Say how things are when nothing is to be done."""
    status = draft.status
    resolved = status.resolved
    rejection = None if resolved is None else draft.rejection_of(resolved.revision)
    if status.baking_until is not None and _is_baking(draft):
        wanted = None if resolved is None or rejection is not None else resolved.revision
        until = f"{status.baking_until:%H:%M:%S}"
        then = "" if wanted in (None, status.stable_revision) else f"; then {wanted} is rolled out"
        draft.phase("Baking", f"{status.stable_revision} serves everything and is watched until {until}{then}")
    elif rejection is not None:
        serving = f"{status.stable_revision} serves" if status.stable_revision else "nothing serves"
        said = rejection.message
        why = said if rejection.revision in said else f"{rejection.revision}: {said}"
        draft.phase("Rejected", f"{why}; {serving}")
    elif status.stable_revision is not None:
        draft.phase("Healthy", f"{status.stable_revision} serves")
    else:
        target = draft.snapshot.resolution
        why = target.message if isinstance(target, Unknown) else status.message
        draft.phase("Pending", why or "nothing is resolved yet")


def _is_baking(draft: Draft) -> bool:
    """Tell whether what was promoted is still watched: it must be able to go back by itself, so nothing else starts."""
    until = draft.status.baking_until
    return until is not None and draft.now < until
