"""What must hold at every write, checked against the API server when it is made.

A final state may be right although something was wrong on the way: requests went to a revision without a ready pod, or
the pods that served were deleted and made again. So each write is looked at as it passes.
"""

from __future__ import annotations

from collections.abc import Iterator

from registry.api.status import ServedModelStatus
from registry.errors import NotThere
from registry.kubernetes.api import KubernetesApi
from registry.kubernetes.resources import (
    DEPLOYMENTS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    SERVED_MODELS,
    Manifest,
    Resource,
)
from registry.kubernetes.writes import Write, Writes
from registry.rollout.manifests import weights as weights_that_follow

_ROUTES = (HTTP_ROUTES, GRPC_ROUTES)


class Invariants:
    """Sees the writes for one ServedModel.

    Args:
        api: reads past whatever is done to the controller's own requests.
        namespace: of the ServedModel.
        name: of the ServedModel.

    """

    def __init__(self, api: KubernetesApi, namespace: str, name: str) -> None:
        self._api, self._namespace, self._name = api, namespace, name
        self._processed: set[str] = set()
        self._of_statuses: list[dict[str, int]] = []
        self.broken: list[str] = []

    def around(self, write: Writes, wanted: Write) -> Manifest:
        """Do a write."""
        if wanted.resource in _ROUTES and wanted.verb in ("create", "apply", "replace"):
            self._see_route(wanted)
        elif wanted.resource == INFERENCE_SERVICES and wanted.verb == "delete":
            self._see_end_of_pods(wanted)
        elif wanted.resource == SERVED_MODELS:
            return self._see_status(write, wanted)
        return write(wanted)

    def is_ready(self, revision: str) -> bool:
        """Tell whether a revision has a pod that takes requests."""
        deployment = self._get(DEPLOYMENTS, f"{revision}-predictor")
        return deployment is not None and deployment.get("status", {}).get("availableReplicas", 0) > 0

    def _see_route(self, wanted: Write) -> None:
        weights = weights_of(wanted.manifest)
        if sum(weights.values()) != 100:
            self.broken.append(f"the weights of {wanted} are {weights}, which do not sum to 100")
        if weights not in (*self._of_statuses, self._of_live_status()):
            self.broken.append(f"{wanted} has the weights {weights}, which no status has had")
        live = self._get(wanted.resource, wanted.name)
        before = weights_of(live) if live is not None else {}
        for revision, weight in weights.items():
            if weight > before.get(revision, 0) and not self.is_ready(revision):
                self.broken.append(f"{wanted} gives {weight} % to {revision}, which has no ready pod")

    def _see_end_of_pods(self, wanted: Write) -> None:
        served_model = self._get(SERVED_MODELS, self._name) or {}
        if (served_model.get("status") or {}).get("stableRevision") == wanted.name:
            self.broken.append(f"{wanted}: it is the stable revision")
        for resource in _ROUTES:
            route = self._get(resource, self._name)
            if route is not None and weights_of(route).get(wanted.name):
                self.broken.append(f"{wanted}: the {resource.kind} still sends it requests")

    def _see_status(self, write: Writes, wanted: Write) -> Manifest:
        live = self._get(SERVED_MODELS, self._name) or {}
        before = ServedModelStatus.model_validate(live.get("status") or {})
        after = ServedModelStatus.model_validate(wanted.manifest["status"])
        written = write(wanted)
        self.broken += [f"{wanted}: {fault}" for fault in _faults(before, after)]
        new = set(after.processed_actions) - set(before.processed_actions)
        self.broken += [f"{wanted}: action {uid} took effect twice" for uid in new & self._processed]
        self._processed |= new
        self._of_statuses.append(weights_that_follow(after))
        return written

    def _of_live_status(self) -> dict[str, int]:
        served_model = self._get(SERVED_MODELS, self._name) or {}
        return weights_that_follow(ServedModelStatus.model_validate(served_model.get("status") or {}))

    def _get(self, resource: Resource, name: str) -> Manifest | None:
        try:
            return self._api.get(resource, self._namespace, name)
        except NotThere:
            return None


def _faults(before: ServedModelStatus, after: ServedModelStatus) -> Iterator[str]:
    for uids in (after.processed_actions, [outcome.uid for outcome in after.action_outcomes]):
        if len(set(uids)) < len(uids):
            yield "an action took effect twice"
    if after.attempts < before.attempts:
        yield "an attempt is forgotten"
    if before.stable_revision is not None and after.stable_revision is None:
        yield "nothing is stable any more"
    if _is_blind(after) and _gains(before, after) and not _may_go_back(before, after):
        yield "a candidate gets more while MLflow is away"
    if before.phase != "RollingBack" or before.attempt is None or after.attempt is None:
        return
    if after.attempt.id == before.attempt.id and after.attempt.weight > before.attempt.weight:
        yield "what is being rolled back advances"


def _gains(before: ServedModelStatus, after: ServedModelStatus) -> bool:
    """Tell whether a revision gets more than it did that was not the stable one."""
    former = weights_that_follow(before)
    gaining = {name for name, weight in weights_that_follow(after).items() if weight > former.get(name, 0)}
    return bool(gaining - {before.stable_revision})


def _is_blind(status: ServedModelStatus) -> bool:
    return any(one.type == "Resolved" and one.status == "Unknown" for one in status.conditions)


def _may_go_back(before: ServedModelStatus, after: ServedModelStatus) -> bool:
    """Tell whether somebody has acted, or a way back is under way, or gates fail while baking: none needs MLflow."""
    has_acted = bool(set(after.processed_actions) - set(before.processed_actions))
    is_undo = before.attempt is not None and before.attempt.undo
    return has_acted or is_undo or before.phase == "RollingBack" or before.baking_until is not None


def weights_of(route: Manifest) -> dict[str, int]:
    """Return the weights of a route's first rule, which is the one without a header, by revision."""
    found: dict[str, int] = {}
    for backend in route["spec"]["rules"][0]["backendRefs"]:
        revision = backend["name"].removesuffix("-predictor")
        found[revision] = found.get(revision, 0) + backend.get("weight", 1)
    return found
