"""An API server in a dictionary: resourceVersions, generations, uids, ownership of fields, finalizers and deletion.

It answers through the same methods as the real adapter. What it returns is never changed afterwards: a write puts new
objects in the place of the old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from faults.fields import Owners, applied, managed_fields, updated
from registry.errors import AlreadyThere, Conflict, NotThere
from registry.kubernetes.api import FIELD_MANAGER, KubernetesApi
from registry.kubernetes.resources import HTTP_ROUTES, INFERENCE_SERVICES, SERVICES, Manifest, Resource
from registry.kubernetes.writes import Write

Place = tuple[Resource, str, str]
OnChange = Callable[[str, Resource, Manifest], None]
"""Told of each change as a watch is: ADDED, MODIFIED or DELETED, the kind, the object."""

_FINALIZED = (INFERENCE_SERVICES,)


class ApiServer(KubernetesApi):
    """Objects by kind, namespace and name.

    Args:
        clock: stamps them.

    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._objects: dict[Place, Manifest] = {}
        self._owners: dict[str, Owners] = {}
        self._version, self._number = 0, 0
        self.watchers: list[OnChange] = []

    def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        """Return an object, or None if there is none."""
        return self._objects.get((resource, namespace or "", name))

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        labels: str | None = None,
        *,
        fields: str | None = None,
        metadata_only: bool = False,  # noqa: ARG002 - more than asked for does no harm
    ) -> Iterator[Manifest]:
        """Yield all objects of a kind."""
        name, _, value = (labels or "").partition("=")
        for (kind, of, _), manifest in list(self._objects.items()):
            found = manifest["metadata"].get("labels", {})
            if kind != resource or (namespace is not None and of != namespace):
                continue
            if fields and not _has_field(manifest, fields):
                continue
            if not labels or (name in found and (not value or found[name] == value)):
                yield manifest

    def write(self, write: Write, manager: str = FIELD_MANAGER) -> Manifest:
        """Do a write, as ``manager``."""
        place = (write.resource, write.namespace, write.name)
        live = self._objects.get(place)
        if write.verb == "create" or (write.verb == "apply" and live is None):
            if live is not None:
                raise AlreadyThere(str(write))
            return self._create(place, write.manifest, manager)
        if live is None:
            raise NotThere(str(write))
        if write.verb == "delete":
            if write.uid and live["metadata"]["uid"] != write.uid:
                raise Conflict(f"{write}: another has its name")
            self.delete(place)
            return live
        version = write.manifest["metadata"].get("resourceVersion")
        if version is not None and version != live["metadata"]["resourceVersion"]:
            raise Conflict(f"{write}: it was written since")
        if write.verb == "replaceStatus":
            return self.put(place, live | {"status": write.manifest["status"]})
        change = applied if write.verb == "apply" else updated
        return self._respec(place, live, write.manifest, change, manager)

    def patch(self, resource: Resource, namespace: str, name: str, spec: Manifest, manager: str) -> None:
        """Merge into an object's spec, as a person does."""
        live = self._objects.get((resource, namespace, name))
        if live is not None:
            wanted = {"metadata": live["metadata"], "spec": _merged(live["spec"], spec)}
            self._respec((resource, namespace, name), live, wanted, updated, manager)

    def put(self, place: Place, manifest: Manifest) -> Manifest:
        """Put a new state of an object in place of the old one, if it differs."""
        live = self._objects.get(place)
        if live is not None and live == manifest:
            return live
        self._version += 1
        stored = manifest | {"metadata": manifest["metadata"] | {"resourceVersion": str(self._version)}}
        self._objects[place] = stored
        self._tell("ADDED" if live is None else "MODIFIED", place, stored)
        return stored

    def delete(self, place: Place) -> None:
        """Delete an object; one with a finalizer stays until `finalize`."""
        live = self._objects.get(place)
        if live is None:
            return
        if place[0] in _FINALIZED:
            if "deletionTimestamp" not in live["metadata"]:
                self.put(place, live | {"metadata": live["metadata"] | {"deletionTimestamp": self._stamp()}})
            return
        self.finalize(place)

    def finalize(self, place: Place) -> None:
        """Take an object away for good."""
        live = self._objects.pop(place, None)
        if live is not None:
            self._owners.pop(live["metadata"]["uid"], None)
            self._tell("DELETED", place, live)

    def places(self) -> dict[Place, Manifest]:
        """Return everything that is there."""
        return dict(self._objects)

    def _create(self, place: Place, manifest: Manifest, manager: str) -> Manifest:
        self._number += 1
        uid = f"uid-{self._number}"
        metadata = {"uid": uid, "creationTimestamp": self._stamp(), "generation": 1} | manifest["metadata"]
        body = {part: value for part, value in manifest.items() if part != "status"}
        spec = manifest.get("spec")
        if spec is not None:
            _, self._owners[uid] = applied({}, {}, spec, manager)
            metadata["managedFields"] = managed_fields(self._owners[uid])
            body["spec"] = _defaulted(place[0], spec)
        return self.put(place, body | {"metadata": metadata})

    def _respec(
        self,
        place: Place,
        live: Manifest,
        wanted: Manifest,
        change: Callable[[Manifest, Owners, Manifest, str], tuple[Manifest, Owners]],
        manager: str,
    ) -> Manifest:
        uid = live["metadata"]["uid"]
        spec, self._owners[uid] = change(live["spec"], self._owners.get(uid, {}), wanted["spec"], manager)
        spec = _defaulted(place[0], spec)
        labels = live["metadata"].get("labels", {}) | wanted["metadata"].get("labels", {})
        metadata = live["metadata"] | {"labels": labels, "managedFields": managed_fields(self._owners[uid])}
        if spec != live["spec"]:
            metadata["generation"] = live["metadata"]["generation"] + 1
        return self.put(place, live | {"metadata": metadata, "spec": spec})

    def _tell(self, kind: str, place: Place, manifest: Manifest) -> None:
        for watcher in self.watchers:
            watcher(kind, place[0], manifest)

    def _stamp(self) -> str:
        return f"{self._clock():%Y-%m-%dT%H:%M:%SZ}"


def _defaulted(resource: Resource, spec: Manifest) -> Manifest:
    """Return a spec with something that the API server or a webhook puts there."""
    if resource == HTTP_ROUTES:
        everything = [{"path": {"type": "PathPrefix", "value": "/"}}]
        return spec | {"rules": [{"matches": everything} | rule for rule in spec["rules"]]}
    if resource == SERVICES:
        return {"clusterIP": "10.96.0.1"} | spec
    if resource == INFERENCE_SERVICES:
        return spec | {"predictor": {"terminationGracePeriodSeconds": 30} | spec["predictor"]}
    return spec


def _has_field(manifest: Manifest, selector: str) -> bool:
    """Tell whether an object has a field such as `metadata.name=cars`."""
    path, _, value = selector.partition("=")
    found: Any = manifest
    for name in path.split("."):
        found = found.get(name, {})
    return bool(found == value)


def _merged(live: Any, patch: Any) -> Any:
    if not isinstance(patch, dict) or not isinstance(live, dict):
        return patch
    return live | {name: _merged(live.get(name), below) for name, below in patch.items()}
