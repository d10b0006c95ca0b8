"""Every write to the API server is one value given to one function.

A test wraps that function to count writes, or to crash before or after one; the leader wraps it to stop them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from registry.errors import NotLeading
from registry.kubernetes.resources import Manifest, Resource

Verb = Literal["create", "apply", "replace", "replaceStatus", "delete"]


@dataclass(frozen=True)
class Write:
    """A write.

    Args:
        verb: create fails where the object exists; apply is server-side apply, by force; replace and replaceStatus fail
            with Conflict unless the manifest's resourceVersion is the newest; delete needs the object's uid.
        resource: the kind.
        namespace: of the object.
        name: of the object.
        manifest: the object; empty to delete.
        uid: which object of that name to delete.

    """

    verb: Verb
    resource: Resource
    namespace: str
    name: str
    manifest: Manifest
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource.kind} {self.namespace}/{self.name}"


Writes = Callable[[Write], Manifest]
"""Does a write, and returns the object as the API server has it now; raises KubernetesError."""


def writing(verb: Verb, resource: Resource, manifest: Manifest) -> Write:
    """Return the write of a whole object."""
    metadata = manifest["metadata"]
    return Write(verb, resource, metadata["namespace"], metadata["name"], manifest)


def deleting(resource: Resource, live: Manifest) -> Write:
    """Return the write that deletes just this object, and no other that gets its name."""
    metadata = live["metadata"]
    return Write("delete", resource, metadata["namespace"], metadata["name"], {}, metadata["uid"])


def fenced(write: Writes, may_write: Callable[[], bool]) -> Writes:
    """Return ``write``, which raises NotLeading once another replica may have taken over."""

    def write_while_leading(wanted: Write) -> Manifest:
        if not may_write():
            raise NotLeading(f"no longer sure to lead: {wanted} is left to the other replica")
        return write(wanted)

    return write_while_leading
