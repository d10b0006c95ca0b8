"""Ways back that are no step: giving back what a failing candidate gets, and bringing a former revision back. PURE."""

from __future__ import annotations

from registry.rollout.actions import give_up
from registry.rollout.draft import Draft
from registry.rollout.gates import needs_online_gates, online_gates
from registry.rollout.promotion import make_stable
from registry.rollout.waiting import wait


def goes_back(draft: Draft) -> bool:
    """Give back what a candidate that fails gets, which needs no MLflow; tell whether the attempt is given up."""
    candidate = draft.candidate
    if candidate is None or draft.attempt.undo:
        return False
    if candidate.fault is not None:
        give_up(draft, "NotReady", f"{candidate.name} cannot be served: {candidate.fault}")
        return True
    if candidate.lost:
        give_back(draft)
    step = draft.current_step
    gate = None if step is None else step.gate
    if gate is None or draft.status.paused is not None or not needs_online_gates(draft.snapshot):
        return False
    verdict = draft.judge(online_gates(draft.snapshot.spec.gates, gate.names))
    if verdict is None or verdict.state != "Failed":
        return False
    give_up(draft, "GateFailed", f"{candidate.name}: {verdict.message}")
    return True


def give_back(draft: Draft) -> None:
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


def finish_undo(draft: Draft) -> None:
    """Bring a former revision back whose pods had gone: no steps, no gates, all traffic as soon as they are there."""
    candidate = draft.candidate
    if candidate is None or candidate.fault is not None:
        why = "its ModelRevision is gone" if candidate is None else candidate.fault
        give_up(draft, "NotReady", f"{draft.status.candidate_revision} cannot be brought back: {why}")
        return
    if not candidate.ready or not draft.snapshot.traffic.in_sync:
        what = "its pods" if not candidate.ready else "the gateway"
        wait(draft, "Promoting", f"goes back to {candidate.name}, and waits for {what}")
        return
    if draft.attempt.weight < 100:
        draft.route(weight=100)
        draft.phase("Promoting", f"{candidate.name} gets everything again")
        draft.look_again_in(0)
        return
    make_stable(draft, bake=False)
