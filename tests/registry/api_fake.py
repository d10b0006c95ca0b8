"""An API server that lives in a dictionary, behind the two methods of the adapter that the election uses."""

from __future__ import annotations

import copy

from registry.errors import AlreadyThere, Conflict, KubernetesUnavailable
from registry.kubernetes.resources import Manifest, Resource
from registry.kubernetes.writes import Write


class FakeApi:
    """Objects by kind and name, with resourceVersions as the real one has them."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.away = False
        self._version = 0

    def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:  # noqa: ARG002
        self._answer()
        return copy.deepcopy(self.objects.get((resource.kind, name)))

    def write(self, write: Write) -> Manifest:
        self._answer()
        key = (write.resource.kind, write.name)
        known = self.objects.get(key)
        if write.verb == "create" and known is not None:
            raise AlreadyThere(str(write))
        given = write.manifest["metadata"].get("resourceVersion")
        if write.verb == "replace" and (known is None or known["metadata"]["resourceVersion"] != given):
            raise Conflict(str(write))
        self._version += 1
        written = copy.deepcopy(write.manifest)
        written["metadata"]["resourceVersion"] = str(self._version)
        self.objects[key] = written
        return copy.deepcopy(written)

    def _answer(self) -> None:
        if self.away:
            raise KubernetesUnavailable("away")
