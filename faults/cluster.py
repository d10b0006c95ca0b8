"""KServe, the kubelets, the gateway and the garbage collector, as far as the controller sees their work.

Each change is followed after a while that is drawn from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from faults.api_server import ApiServer, Place
from killpoints.scenarios import HUGE
from registry.kubernetes.resources import (
    DEPLOYMENTS,
    GATEWAY_CLASSES,
    GATEWAYS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    SERVED_MODELS,
    Manifest,
    Resource,
)

Later = Callable[[float, Callable[[], None]], None]
"""Has something done in so many seconds."""


class Cluster:
    """What follows the API server.

    Args:
        api: the API server.
        later: has something done after a while.
        chooser: draws how long a while is.

    """

    def __init__(self, api: ApiServer, later: Later, chooser: random.Random) -> None:
        self._api, self._later, self._chooser = api, later, chooser
        self.pods_start = True
        self._have_been_ready: set[str] = set()
        self._taken_by_hand: set[str] = set()
        api.watchers.append(self._follow)

    def has_been_ready(self, revision: str) -> bool:
        """Tell whether a revision's pods were ready at some time since the controller made its InferenceService."""
        return revision in self._have_been_ready or revision in self._taken_by_hand

    def take_by_hand(self, revision: str) -> None:
        """Note that a person deletes a revision's pods: what they served they go on serving once they are back."""
        self._taken_by_hand.add(revision)

    def install_gateway(self, namespace: str, name: str, *, can_mirror: bool | None) -> None:
        """Let there be a gateway, whose class says what it can do, or says nothing."""
        features = ["HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror"] if can_mirror else []
        status = {} if can_mirror is None else {"supportedFeatures": [{"name": one} for one in features]}
        self._put(GATEWAYS, namespace, name, spec={"gatewayClassName": "class"})
        self._put(GATEWAY_CLASSES, "", "class", status=status)

    def set_pods(self, revision: str, *, ready: bool) -> None:
        """Let a revision's pods become ready, or fall ill."""
        place = self._place(DEPLOYMENTS, f"{revision}-predictor")
        deployment = None if place is None else self._api.places().get(place)
        if place is None or deployment is None:
            return
        if ready and _may_start(self._revision_spec(revision)):
            self._have_been_ready.add(revision)
            counts = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
        else:
            counts = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 0}
        self._api.put(place, deployment | {"status": counts})

    def revisions(self) -> list[str]:
        """Return the revisions that have pods."""
        return [name.removesuffix("-predictor") for (kind, _, name) in self._api.places() if kind == DEPLOYMENTS]

    def _follow(self, kind: str, resource: Resource, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        place = (resource, metadata.get("namespace", ""), metadata["name"])
        if resource == INFERENCE_SERVICES:
            if kind == "DELETED":
                self._have_been_ready.discard(metadata["name"])
                self._later(self._while(), lambda: self._end_pods(metadata))
            elif "deletionTimestamp" in metadata:
                self._later(self._while(), lambda: self._api.finalize(place))
            elif kind == "ADDED":
                self._later(self._while(), lambda: self._deploy(place))
        elif resource in (HTTP_ROUTES, GRPC_ROUTES) and kind != "DELETED":
            self._later(self._while() / 4, lambda: self._accept(place))
        elif resource == SERVED_MODELS and kind == "DELETED":
            self._later(self._while(), lambda: self._collect(metadata["uid"]))
        if kind == "ADDED" and self._is_orphan(manifest):
            self._later(self._while(), lambda: self._api.delete(place))

    def _deploy(self, place: Place) -> None:
        service = self._api.places().get(place)
        if service is None or "deletionTimestamp" in service["metadata"]:
            return
        _, namespace, name = place
        labels = service["metadata"].get("labels", {})
        owners = [{"uid": service["metadata"]["uid"]}]
        self._put(DEPLOYMENTS, namespace, f"{name}-predictor", labels=labels, ownerReferences=owners)
        self._later(self._while(), lambda: self.set_pods(name, ready=self.pods_start))

    def _end_pods(self, metadata: Manifest) -> None:
        place = (DEPLOYMENTS, metadata["namespace"], f"{metadata['name']}-predictor")
        found = self._api.places().get(place)
        if found is not None and found["metadata"]["ownerReferences"][0]["uid"] == metadata["uid"]:
            self._api.finalize(place)

    def _accept(self, place: Place) -> None:
        route = self._api.places().get(place)
        if route is None:
            return
        seen = {"status": "True", "observedGeneration": route["metadata"]["generation"]}
        conditions = [{"type": "Accepted"} | seen, {"type": "ResolvedRefs"} | seen]
        parents = [{"parentRef": parent, "conditions": conditions} for parent in route["spec"]["parentRefs"]]
        self._api.put(place, route | {"status": {"parents": parents}})

    def _collect(self, uid: str) -> None:
        for place, manifest in self._api.places().items():
            if any(owner["uid"] == uid for owner in manifest["metadata"].get("ownerReferences") or ()):
                self._api.delete(place)

    def _is_orphan(self, manifest: Manifest) -> bool:
        uids = {one["metadata"].get("uid") for one in self._api.places().values()}
        owners = manifest["metadata"].get("ownerReferences") or ()
        return any(owner["uid"] not in uids for owner in owners)

    def _revision_spec(self, revision: str) -> Manifest:
        place = self._place(INFERENCE_SERVICES, revision)
        return {} if place is None else self._api.places()[place]["spec"]

    def _place(self, resource: Resource, name: str) -> Place | None:
        return next((place for place in self._api.places() if place[0] == resource and place[2] == name), None)

    def _put(self, resource: Resource, namespace: str, name: str, **parts: object) -> None:
        place = (resource, namespace, name)
        metadata = {"name": name, "namespace": namespace, "uid": f"{name}-{id(parts)}", "generation": 1}
        metadata |= {part: parts.pop(part) for part in ("labels", "ownerReferences") if part in parts}
        self._api.put(place, {"metadata": metadata, **parts})

    def _while(self) -> float:
        return 0.1 + self._chooser.random() * 2


def _may_start(spec: Manifest) -> bool:
    if not spec:
        return False
    resources = spec["predictor"]["containers"][0].get("resources", {})
    return bool(resources.get("requests", {}).get("cpu") != HUGE["requests"]["cpu"])
