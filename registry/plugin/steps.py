"""The steps of a rollout, as a list with marks: what is done, what is being done, what is to come. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from registry.plugin.wording import span

State = Literal["done", "current", "to come", "skipped"]


@dataclass(frozen=True)
class Step:
    """A step.

    Args:
        kind: validate, setWeight, pause, gate, approval, shadow, match, promote or bake.
        text: what it does.
        state: whether it is done.
        seconds: how long it takes at the least; None where it waits for a person.
        until: when it is over, or given up, as `ends` says; None where that is not known.
        ends: what happens then.

    """

    kind: str
    text: str
    state: State = "to come"
    seconds: int | None = 0
    until: datetime | None = None
    ends: Literal["over", "given up"] = "over"


def steps_of(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[Step, ...]:
    """Return the steps of the rollout that is under way, or just over and watched; else none."""
    attempt, phase = status.get("attempt"), status.get("phase")
    if phase == "Baking":
        until = _time(status.get("bakingUntil"))
        done = [_as(step, "done") for step in planned(spec, has_stable=True)]
        return (*done[:-1], _as(done[-1], "current", until))
    if attempt is None or attempt.get("undo") or phase == "RollingBack":
        return ()
    return tuple(_marked(spec, status, attempt))


def planned(spec: Mapping[str, Any], *, has_stable: bool) -> tuple[Step, ...]:
    """Return the steps of a whole rollout; the first revision of all gets everything at once, and nothing bakes."""
    steps = [Step("validate", f"pods ready, same features{_offline(spec)}")]
    steps += [_step(step, has_stable=has_stable) for step in _steps(spec)]
    steps.append(Step("promote", "100 % of the requests"))
    seconds = int(_rollback(spec).get("autoWindowSeconds", 300))
    if has_stable and seconds:
        steps.append(Step("bake", f"watched for {span(seconds)}, and back by itself if gates fail", seconds=seconds))
    return tuple(steps)


def _steps(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (spec.get("rollout") or {}).get("steps") or []
    return found


def _rollback(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = spec.get("rollback") or {}
    return found


def _offline(spec: Mapping[str, Any]) -> str:
    names = [gate["name"] for gate in spec.get("gates") or () if gate.get("mlflow")]
    return f", offline gates {', '.join(names)}" if names else ""


def _step(step: Mapping[str, Any], *, has_stable: bool) -> Step:
    if "setWeight" in step:
        first = "" if has_stable or not step["setWeight"] else " (100 % at once: nothing serves before)"
        return Step("setWeight", f"{step['setWeight']} % of the requests{first}")
    kind = next(iter(step), "")
    what: Mapping[str, Any] = step.get(kind) or {}
    if kind == "pause":
        seconds = what.get("durationSeconds")
        text = "pause until somebody resumes" if seconds is None else f"pause {span(seconds)}"
        return Step(kind, text, seconds=seconds)
    if kind == "gate":
        return Step(kind, f"gates {', '.join(what['names'])}" if what.get("names") else "all online gates")
    if kind == "approval":
        return Step(kind, "somebody's approval", seconds=None)
    if kind == "shadow":
        return _shadow(what, has_stable=has_stable)
    if kind == "match":
        return Step(kind, f"requests with {what.get('header')}: {what.get('value')}")
    return Step(kind, kind)


def _shadow(what: Mapping[str, Any], *, has_stable: bool) -> Step:
    percent, seconds = what.get("percent", 100), int(what.get("durationSeconds", 300))
    if not has_stable:
        return Step("shadow", f"copy {percent} % of the requests (passed over: nothing serves before)")
    return Step("shadow", f"copy {percent} % of the requests for {span(seconds)}", seconds=seconds)


def _marked(spec: Mapping[str, Any], status: Mapping[str, Any], attempt: Mapping[str, Any]) -> Iterator[Step]:
    steps = planned(spec, has_stable=bool(status.get("stableRevision")))
    own = len(_steps(spec))
    at = int(attempt.get("step") or 0)
    validating = status.get("phase") == "Validating" and not at and not attempt.get("weight")
    promoting = at >= own or (bool(attempt.get("promoted")) and not validating)
    current = 0 if validating else own + 1 if promoting else at + 1
    for place, step in enumerate(steps):
        if place == current:
            # While somebody holds it, and in a freeze window, no clock runs.
            held = bool(status.get("paused")) or status.get("phase") == "Frozen"
            yield _as(step, "current") if held else _current(step, spec, attempt)
        elif place > current:
            skipped = bool(attempt.get("promoted")) and 0 < place <= own
            yield _as(step, "skipped" if skipped else "to come")
        else:
            yield _as(step, "skipped" if promoting and at < place <= own else "done")


def _current(step: Step, spec: Mapping[str, Any], attempt: Mapping[str, Any]) -> Step:
    """Return the step that is being done, with the time at which it ends, as the controller reckons it."""
    started, ready = _time(attempt.get("stepStartedAt")), _time(attempt.get("readyAt"))
    if step.kind == "pause" or (step.kind == "shadow" and attempt.get("shadowPercent")):
        begins = started if step.kind == "pause" else ready or started
        timed = begins is not None and step.seconds is not None
        return _as(step, "current", begins + timedelta(seconds=step.seconds or 0) if begins and timed else None)
    waits = _time(attempt.get("waitsSince"))
    if waits is None or attempt.get("unavailableSince"):
        return _as(step, "current")
    deadline = int((spec.get("rollout") or {}).get("progressDeadlineSeconds", 600))
    return _as(step, "current", waits + timedelta(seconds=deadline), "given up")


def _as(step: Step, state: State, until: datetime | None = None, ends: Literal["over", "given up"] = "over") -> Step:
    return Step(step.kind, step.text, state, step.seconds, until, ends)


def _time(text: str | None) -> datetime | None:
    return None if not text else datetime.fromisoformat(text)
