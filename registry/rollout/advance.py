"""The next thing to be done for a candidate: its pods, its gates, its steps. PURE."""

from __future__ import annotations

from registry.rollout.actions import give_up
from registry.rollout.draft import Draft
from registry.rollout.snapshot import Target
from registry.rollout.steps import walk
from registry.rollout.waiting import holds, phase_of_waiting, wait, wait_no_more
from registry.rollout.ways_back import give_back


def advance(draft: Draft) -> None:
    """Do what can be done now. At most one change of traffic in a decision: the gateway must follow it first."""
    candidate = draft.candidate
    if candidate is None:
        # Its ModelRevision was written a moment ago, or somebody deleted it: it is made (again).
        target = draft.snapshot.resolution
        draft.create = target if isinstance(target, Target) else None
        wait(draft, "Validating", f"{draft.status.candidate_revision} is being made")
        return
    if candidate.fault is not None:
        give_up(draft, "NotReady", f"{candidate.name} cannot be served: {candidate.fault}")
        return
    if _is_refused(draft):
        return
    if not candidate.ready:
        if candidate.lost:
            give_back(draft)
        why = f": {candidate.waits_for}" if candidate.waits_for else ""
        wait(draft, phase_of_waiting(draft), f"{candidate.name} waits for its pods to be ready{why}")
        return
    if not draft.snapshot.traffic.in_sync:
        message = draft.snapshot.traffic.message or "the gateway has not followed yet"
        wait(draft, phase_of_waiting(draft), f"{candidate.name}: {message}")
        return
    if draft.status.paused is not None:
        wait_no_more(draft)
        paused = draft.status.paused
        draft.phase("Paused", f"paused by {paused.by}" + (f": {paused.reason}" if paused.reason else ""))
        return
    walk(draft)


def _is_refused(draft: Draft) -> bool:
    """Judge what needs no traffic: the signature, and the offline gates. Give up where they fail."""
    if draft.attempt.weight or draft.attempt.step:
        return False
    candidate, stable = draft.candidate, draft.stable
    if candidate is None:
        raise AssertionError("a candidate is judged that is not there")
    if stable is None and draft.status.stable_revision is not None:
        lost = f"the ModelRevision {draft.status.stable_revision} was deleted, and tells no more what clients send"
        wait(draft, "Validating", f"{candidate.name}: {lost}")
        return True
    before, now = (stable.spec.feature_names, candidate.spec.feature_names) if stable else ([], [])
    if before != now:
        give_up(draft, "Incompatible", f"{candidate.name} takes {', '.join(now)}; clients send {', '.join(before)}")
        return True
    verdict = draft.judge(gate for gate in draft.snapshot.spec.gates if gate.mlflow is not None)
    return holds(draft, verdict, "Validating")
