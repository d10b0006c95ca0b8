"""What a person wants to know of a ServedModel, drawn from its objects. PURE.

It reads plain objects leniently: a controller that is newer than this command may say more than is known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from registry.kubernetes.resources import DEPLOYMENTS, MODEL_REVISIONS, ROLLOUT_ACTIONS, Manifest
from registry.plugin.steps import Step, steps_of
from registry.plugin.watching import Resources
from registry.plugin.wording import limits

Role = Literal["stable", "candidate", "previous"]
Verdict = Literal["passed", "failed", "waiting", "unknown"]
_MOST_ACTIONS = 5
# What is worth a line: a condition that says otherwise. Reconciling and Stalled say again what others say.
_EITHER = ("True", "False")
_EXPECTED = {
    "Degraded": ("False",),
    "Progressing": _EITHER,
    "Approved": _EITHER,
    "Reconciling": _EITHER,
    "Stalled": _EITHER,
}


@dataclass(frozen=True)
class Pods:
    """How many pods of a revision take requests, and how many there are to be."""

    ready: int
    wanted: int


@dataclass(frozen=True)
class RevisionView:
    """A revision that has pods.

    Args:
        role: what it is to the rollout.
        name: of the ModelRevision.
        version: the model version id; empty where the ModelRevision is gone.
        mlflow_version: MLflow's own number.
        digest: of the artefact.
        weight: percent of the requests.
        shadow: percent of the requests that are copied to it.
        header: `name: value` of the requests that all go to it.
        pods: None where they may not be read, or there are none yet.
        created_at: of the ModelRevision.
        warm_until: when a former revision's pods go.

    """

    role: Role
    name: str
    version: str
    mlflow_version: str
    digest: str
    weight: int
    shadow: int
    header: str
    pods: Pods | None
    created_at: datetime | None
    warm_until: datetime | None


@dataclass(frozen=True)
class GateView:
    """A gate, and what it last said of the newest candidate; None where it has said nothing yet."""

    name: str
    source: Literal["mlflow", "prometheus"]
    demands: str
    verdict: Verdict
    message: str
    since: datetime | None


@dataclass(frozen=True)
class ConditionView:
    """A condition that is not as it should be."""

    type: str
    status: str
    reason: str
    message: str
    since: datetime | None


@dataclass(frozen=True)
class ActionView:
    """What somebody did."""

    at: datetime
    by: str
    action: str
    reason: str
    state: str
    message: str


@dataclass(frozen=True)
class Freeze:
    """Freeze windows: until when it is frozen now, and when the next one begins; None for neither."""

    until: datetime | None
    next_begins: datetime | None


@dataclass(frozen=True)
class Overview:
    """All of it; `status -o json` prints just this."""

    namespace: str
    name: str
    phase: str
    message: str
    is_up_to_date: bool
    suspended: bool
    plan_only: bool
    model: str
    selector: str
    hostnames: tuple[str, ...]
    created_at: datetime | None
    resolved_version: str
    rejected: tuple[str, ...]
    revisions: tuple[RevisionView, ...]
    steps: tuple[Step, ...]
    gates: tuple[GateView, ...]
    problems: tuple[ConditionView, ...]
    actions: tuple[ActionView, ...]
    freeze: Freeze | None
    trouble: str

    def revision(self, role: Role) -> RevisionView | None:
        """Return the revision that has a role."""
        return next((found for found in self.revisions if found.role == role), None)

    @property
    def under_way(self) -> bool:
        """Tell whether a rollout is, or what it brought is still watched."""
        return any(step.state != "done" for step in self.steps)


def overview(served_model: Manifest, resources: Resources, freeze: Freeze | None = None) -> Overview:
    """Return what is to be known of a ServedModel."""
    metadata, spec, status = served_model["metadata"], served_model["spec"], status_of(served_model)
    model, route = spec.get("model") or {}, spec.get("route") or {}
    return Overview(
        namespace=metadata["namespace"],
        name=metadata["name"],
        phase=status.get("phase") or "Pending",
        message=status.get("message") or "",
        is_up_to_date=is_up_to_date(served_model),
        suspended=bool(spec.get("suspend")),
        plan_only=bool(spec.get("planOnly")),
        model=str(model.get("name", "")),
        selector=selector_of(model),
        hostnames=(*(route.get("hostnames") or ()), *(route.get("grpcHostnames") or ())),
        created_at=time_of(metadata.get("creationTimestamp")),
        resolved_version=(status.get("resolved") or {}).get("version", ""),
        rejected=tuple(one["revision"] for one in status.get("rejectedRevisions") or () if not one.get("lapsed")),
        revisions=tuple(_revisions(status, resources)),
        steps=steps_of(spec, status),
        gates=tuple(_gates(spec, status)),
        problems=tuple(_problems(status)),
        actions=_actions(resources.of(ROLLOUT_ACTIONS)),
        freeze=freeze,
        trouble=resources.trouble,
    )


def status_of(served_model: Manifest) -> dict[str, Any]:
    """Return the status, which is empty before a controller has looked."""
    found: dict[str, Any] = served_model.get("status") or {}
    return found


def is_up_to_date(served_model: Manifest) -> bool:
    """Tell whether the status is of the newest spec."""
    return int(status_of(served_model).get("observedGeneration") or 0) >= int(
        served_model["metadata"].get("generation") or 0
    )


def condition_of(served_model: Manifest, kind: str) -> dict[str, Any]:
    """Return a condition; an empty one where the controller has not said it."""
    conditions = status_of(served_model).get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind), {})


def selector_of(model: Mapping[str, Any]) -> str:
    """Return which version a spec means, as one writes it: @alias, or the version, tag or run."""
    if model.get("alias"):
        return f"@{model['alias']}"
    return next((f"{kind} {model[key]}" for kind, key in _SELECTORS if model.get(key)), "")


_SELECTORS = (("version", "version"), ("tag", "tag"), ("run", "runId"))


def time_of(text: str | None) -> datetime | None:
    """Return a time as Kubernetes writes it."""
    return None if not text else datetime.fromisoformat(text)


def weights(status: Mapping[str, Any]) -> dict[str, int]:
    """Return the percent of requests of each revision that gets some."""
    stable, candidate = status.get("stableRevision"), status.get("candidateRevision")
    share = int((status.get("attempt") or {}).get("weight") or 0) if candidate else 0
    if not stable:
        return {candidate: 100} if candidate and share else {}
    found = {stable: 100 - share} | ({candidate: share} if candidate else {})
    return {name: weight for name, weight in found.items() if weight}


def _revisions(status: Mapping[str, Any], resources: Resources) -> Iterator[RevisionView]:
    known = {one["metadata"]["name"]: one for one in resources.of(MODEL_REVISIONS)}
    pods = {one["metadata"]["name"].removesuffix("-predictor"): one for one in resources.of(DEPLOYMENTS)}
    attempt, share = status.get("attempt") or {}, weights(status)
    roles: tuple[Role, ...] = ("stable", "candidate", "previous")
    for role in roles:
        name = status.get(f"{role}Revision")
        if not name:
            continue
        manifest = known.get(name) or {"metadata": {}, "spec": {}}
        spec, match = manifest["spec"], (attempt.get("match") or {}) if role == "candidate" else {}
        yield RevisionView(
            role=role,
            name=name,
            version=spec.get("version", ""),
            mlflow_version=spec.get("mlflowVersion", ""),
            digest=spec.get("digest", ""),
            weight=share.get(name, 0),
            shadow=int(attempt.get("shadowPercent") or 0) if role == "candidate" else 0,
            header=f"{match['header']}: {match['value']}" if match else "",
            pods=_pods(pods.get(name)),
            created_at=time_of(manifest["metadata"].get("creationTimestamp")),
            warm_until=time_of(status.get("warmUntil")) if role == "previous" else None,
        )


def _pods(deployment: Manifest | None) -> Pods | None:
    if deployment is None:
        return None
    status = deployment.get("status") or {}
    return Pods(int(status.get("readyReplicas") or 0), int((deployment.get("spec") or {}).get("replicas", 1)))


def _gates(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[GateView]:
    said = {found["name"]: found for found in status.get("gates") or ()}
    for gate in spec.get("gates") or ():
        name, found = gate["name"], said.get(gate["name"]) or {}
        yield GateView(
            name,
            "mlflow" if gate.get("mlflow") else "prometheus",
            limits(gate),
            _VERDICTS.get(found.get("state", ""), "unknown"),
            _without_name(name, found.get("message") or ""),
            time_of(found.get("since")),
        )


_VERDICTS: Mapping[str, Verdict] = {
    "Passed": "passed",
    "Failed": "failed",
    "NoData": "waiting",
    "Unavailable": "waiting",
}


def _without_name(gate: str, message: str) -> str:
    """Return a message without the name of the gate, which stands beside it."""
    return message.removeprefix(f"gate {gate}").removeprefix(":").strip()


def _problems(status: Mapping[str, Any]) -> Iterator[ConditionView]:
    for condition in status.get("conditions") or ():
        if condition["status"] in _EXPECTED.get(condition["type"], ("True",)):
            continue
        if condition.get("reason") in ("Validating", "NothingResolved"):
            continue  # not known yet, which is no problem
        yield ConditionView(
            condition["type"],
            condition["status"],
            condition.get("reason", ""),
            condition.get("message", ""),
            time_of(condition.get("lastTransitionTime")),
        )


def _actions(found: Sequence[Manifest]) -> tuple[ActionView, ...]:
    newest = sorted(found, key=lambda one: one["metadata"]["creationTimestamp"], reverse=True)[:_MOST_ACTIONS]
    return tuple(_action(one) for one in newest)


def _action(manifest: Manifest) -> ActionView:
    spec, status = manifest["spec"], manifest.get("status") or {}
    at = datetime.fromisoformat(manifest["metadata"]["creationTimestamp"])
    state, message = status.get("state") or "Pending", status.get("message", "")
    return ActionView(at, spec.get("requestedBy", ""), spec.get("action", ""), spec.get("reason", ""), state, message)


def left(until: datetime | None, now: datetime) -> timedelta | None:
    """Return how long it is until a time; None where it is over or unknown."""
    return None if until is None or until <= now else until - now
