"""What would happen if the selector's version were rolled out now. PURE.

With planOnly the controller itself says so, with the verdicts of gates that only it can ask; else it is read from the
spec and the last that the controller resolved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from registry.kubernetes.resources import Manifest
from registry.plugin.overview import Freeze, condition_of, is_up_to_date, selector_of, status_of
from registry.plugin.steps import Step, planned, steps_of


@dataclass(frozen=True)
class Plan:
    """A plan; `plan -o json` prints just this.

    Args:
        namespace: of the ServedModel.
        name: its name.
        model: the registered model's name.
        selector: which of its versions is meant.
        target: the revision that the selector means; None where nothing is resolved.
        version: its model version id.
        stable: what serves now.
        verdict: what would be done, in a sentence.
        would_act: whether anything would.
        controller_says: the controller's own plan, where it makes one.
        steps: of the rollout; none where none will be taken.
        minimum_seconds: how long it takes until everything goes to the target, people and pods aside.
        baking_seconds: how long it is watched after that.
        waits_for_people: at how many steps somebody has to do something.
        freeze: freeze windows.

    """

    namespace: str
    name: str
    model: str
    selector: str
    target: str | None
    version: str
    stable: str | None
    verdict: str
    would_act: bool
    controller_says: tuple[str, ...]
    steps: tuple[Step, ...]
    minimum_seconds: int
    baking_seconds: int
    waits_for_people: int
    freeze: Freeze | None


def plan_of(served_model: Manifest, freeze: Freeze | None = None) -> Plan:
    """Return what would happen."""
    metadata, spec, status = served_model["metadata"], served_model["spec"], status_of(served_model)
    resolved, stable = status.get("resolved") or {}, status.get("stableRevision")
    would_act, verdict = _verdict(served_model)
    steps = _open_or_planned(served_model, would_act=would_act)
    open_steps = [step for step in steps if step.state in ("to come", "current")]
    model = spec.get("model") or {}
    return Plan(
        namespace=metadata["namespace"],
        name=metadata["name"],
        model=str(model.get("name", "")),
        selector=selector_of(model),
        target=resolved.get("revision"),
        version=resolved.get("version", ""),
        stable=stable,
        verdict=verdict,
        would_act=would_act,
        controller_says=tuple(status.get("plan") or ()),
        steps=steps,
        minimum_seconds=sum(step.seconds or 0 for step in open_steps if step.kind != "bake"),
        baking_seconds=sum(step.seconds or 0 for step in open_steps if step.kind == "bake"),
        waits_for_people=sum(step.seconds is None for step in open_steps),
        freeze=freeze,
    )


def _open_or_planned(served_model: Manifest, *, would_act: bool) -> tuple[Step, ...]:
    """Return the steps of what is under way or watched; else those that a rollout of the target would take."""
    spec, status = served_model["spec"], status_of(served_model)
    if _is_undo(status) or (status.get("phase") == "RollingBack" and not would_act):
        return ()
    own = steps_of(spec, status) if status.get("attempt") or _is_watched(status) else ()
    return own or planned(spec, has_stable=bool(status.get("stableRevision")))


def _verdict(served_model: Manifest) -> tuple[bool, str]:
    """Tell whether anything would be done, and say what or why not. What is under way comes first."""
    status = status_of(served_model)
    candidate = status.get("candidateRevision")
    if status.get("phase") == "RollingBack":
        back = f"{candidate} is being taken back" if candidate else "the way back is under way"
        acts, then = _verdict_on_target(served_model)
        return acts, f"{back}; after that: {then}"
    if candidate and _is_undo(status):
        return True, f"{candidate} is on its way back: it gets everything as soon as its pods are ready"
    if candidate and status.get("attempt") and is_up_to_date(served_model):
        if held := _held(served_model):
            return False, f"{candidate} is being rolled out, and spec.{held} holds it where it is"
        return True, f"{candidate} is being rolled out"
    return _verdict_on_target(served_model)


def _verdict_on_target(served_model: Manifest) -> tuple[bool, str]:
    status, resolved = status_of(served_model), condition_of(served_model, "Resolved")
    target = (status.get("resolved") or {}).get("revision")
    if target is None:
        said = str(status.get("message") or "the controller has not looked")
        return False, said if said.startswith("nothing is resolved yet") else f"nothing is resolved yet: {said}"
    if not is_up_to_date(served_model):
        return False, f"the controller has not looked at the newest spec; before, it meant {target}"
    if resolved.get("status") in ("Unknown", "False"):
        return False, f"nothing would be done for now: {resolved.get('message')}"
    if target == status.get("stableRevision"):
        if _is_watched(status):
            return False, f"{target} got everything and is watched: nothing else would be done"
        return False, f"{target} serves already: nothing would be done; another version would take these steps"
    for rejection in status.get("rejectedRevisions") or ():
        if rejection["revision"] == target and not rejection.get("lapsed"):
            name = served_model["metadata"]["name"]
            said = rejection.get("message") or rejection.get("reason")
            return False, f"{target} is rejected ({said}): nothing would be done before `kubectl telltale retry {name}`"
    if held := _held(served_model):
        return False, f"{target} would be rolled out, were it not for spec.{held}"
    return True, f"{target} would be rolled out"


def _held(served_model: Manifest) -> str:
    """Return the field of the spec by which nothing is done but the way back; empty where none is set."""
    spec = served_model["spec"]
    return "suspend" if spec.get("suspend") else "planOnly" if spec.get("planOnly") else ""


def _is_undo(status: dict[str, Any]) -> bool:
    return bool((status.get("attempt") or {}).get("undo"))


def _is_watched(status: dict[str, Any]) -> bool:
    """Tell whether the target got everything, and its baking is not over."""
    target = (status.get("resolved") or {}).get("revision")
    return status.get("phase") == "Baking" and target == status.get("stableRevision")
