"""What would be done, for a ServedModel that is only to be planned. PURE."""

from __future__ import annotations

from registry.api.served_model import Step
from registry.rollout.draft import Draft
from registry.rollout.gates import judge, worst
from registry.rollout.snapshot import NotFound, Unknown


def plan_of(draft: Draft) -> list[str]:
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
    frozen = draft.frozen_until
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
