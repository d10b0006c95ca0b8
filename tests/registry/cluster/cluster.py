"""A cluster as the tests use it: the product's own API adapter stands in for kubectl, and writes as a person would."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import httpx2

from registry.crds import KINDS, crd
from registry.errors import AlreadyThere, KubernetesUnavailable, NotThere
from registry.kubernetes.api import KubernetesApi, answered, connect
from registry.kubernetes.resources import (
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    Manifest,
    Resource,
)
from registry.kubernetes.writes import Write, writing
from registry.watching import WATCHED
from tests.waiting import wait_for

CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")


def _as(person: str) -> dict[str, str]:
    """Return the headers of a request in a person's name, who may do everything."""
    return {"Impersonate-User": person, "Impersonate-Group": "system:masters"}


class Cluster:
    """A namespace of a cluster.

    Args:
        namespace: made for one test.

    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._client = connect(10.0)
        self.api = KubernetesApi(self._client)

    def install(self) -> None:
        """Install the controller's kinds, where they are not there yet."""
        for kind in KINDS:
            try:
                self.post(CRDS.path(), crd(kind))
            except AlreadyThere:
                continue
        for resource in WATCHED:
            wait_for(partial(self._is_served, resource), f"{resource.kind}'s API")

    def is_ready(self) -> bool:
        """Tell whether the API server is up and says so."""
        try:
            return self._client.get("/readyz").is_success
        except httpx2.TransportError:
            return False

    def _is_served(self, resource: Resource) -> bool:
        try:
            list(self.api.list(resource))
        except (NotThere, KubernetesUnavailable):  # the latter: 429, since a kind's storage is made at its first use
            return False
        return True

    def post(self, path: str, manifest: Manifest) -> None:
        """Create an object that has no namespace."""
        self._post(path, manifest, {})

    def _post(self, path: str, manifest: Manifest, headers: dict[str, str]) -> Manifest:
        return answered(self._client.post(path, json=manifest, headers=headers), f"create {path}")

    def make_namespace(self) -> None:
        """Make the namespace."""
        self.post(NAMESPACES.path(), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})

    def remove(self) -> None:
        """Take the namespace away, without waiting for it."""
        self._client.delete(NAMESPACES.path(None, self.namespace))
        self.api.close()

    def create(self, resource: Resource, name: str, spec: Manifest, **metadata: Any) -> Manifest:
        """Create an object; a RolloutAction as the person who asks for it, as the policies of the chart demand."""
        manifest = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": self.namespace, **metadata},
            "spec": spec,
        }
        if resource == ROLLOUT_ACTIONS and "requestedBy" in spec:
            return self._post(resource.path(self.namespace), manifest, _as(spec["requestedBy"]))
        return self.api.write(writing("create", resource, manifest))

    def patch(self, resource: Resource, name: str, patch: Manifest, subresource: str | None = None) -> Manifest:
        """Change an object as `kubectl patch --type merge` does, under kubectl's name."""
        path = resource.path(self.namespace, name, subresource)
        answer = self._client.patch(
            path,
            params={"fieldManager": "kubectl-edit"},
            headers={"Content-Type": "application/merge-patch+json"},
            json=patch,
        )
        return answered(answer, f"patch {path}")

    def delete(self, resource: Resource, name: str) -> None:
        """Delete an object."""
        found = self.get(resource, name)
        assert found is not None
        self.api.write(Write("delete", resource, self.namespace, name, {}, found["metadata"]["uid"]))

    def get(self, resource: Resource, name: str) -> Manifest | None:
        """Return an object."""
        return self.api.get(resource, self.namespace, name)

    def list(self, resource: Resource) -> list[Manifest]:
        """Return all objects of a kind."""
        return list(self.api.list(resource, self.namespace))

    def status(self, name: str = "cars") -> Manifest:
        """Return a ServedModel's status."""
        found = self.get(SERVED_MODELS, name)
        return (found or {}).get("status") or {}

    def act(self, action: str, name: str = "cars", **more: Any) -> Manifest:
        """Create a RolloutAction."""
        spec = {"servedModel": name, "action": action, "requestedBy": "alice", **more}
        return self.create(ROLLOUT_ACTIONS, f"{name}-{action.lower()}-{time.monotonic_ns()}", spec)

    def wait_for_phase(self, *phases: str, name: str = "cars", seconds: float = 30.0) -> Manifest:
        """Return a ServedModel's status once it is in one of the phases."""

        def look() -> Manifest | None:
            status = self.status(name)
            return status if status.get("phase") in phases else None

        try:
            return wait_for(look, f"phase {' or '.join(phases)}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.status(name)}") from error

    def weights(self, name: str = "cars") -> dict[str, int]:
        """Return the weights of the HTTPRoute, by revision."""
        route = self.get(HTTP_ROUTES, name)
        if route is None:
            return {}
        backends = route["spec"]["rules"][0]["backendRefs"]
        return {backend["name"].removesuffix("-predictor"): backend["weight"] for backend in backends}

    def inference_services(self) -> set[str]:
        """Return the names of the InferenceServices that are not on their way out."""
        found = self.list(INFERENCE_SERVICES)
        return {one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]}
