"""A candidate becomes the stable revision. PURE."""

from __future__ import annotations

from datetime import timedelta

from registry.rollout.draft import Draft


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
        draft.phase(
            "Baking", f"{name} serves everything and is watched until {f'{draft.status.baking_until:%H:%M:%S}'}"
        )
    else:
        draft.phase("Healthy", f"{name} serves")
    draft.look_again_in(0)
