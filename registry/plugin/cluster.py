"""The API server's objects, as the command needs them: reading, watching, and creating a RolloutAction."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from registry.errors import (
    AlreadyThere,
    Conflict,
    KubernetesError,
    KubernetesForbidden,
    KubernetesUnavailable,
    NotThere,
    Refused,
)
from registry.kubernetes.resources import ROLLOUT_ACTIONS, Manifest, Resource
from registry.plugin.connection import Connection

_REVIEWS = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")
_ACCESS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
# The server ends a watch after so long; silence for longer means that it froze.
_WATCH_SECONDS = 50
_SILENCE_SECONDS = 60.0
_MANAGER = {"fieldManager": "kubectl-telltale"}


class KindMissing(NotThere):
    """The cluster does not know the kind at all."""


class Unauthenticated(KubernetesForbidden):
    """The API server does not know who asks."""


class Expired(KubernetesUnavailable):
    """A watch cannot be taken up where it ended: list anew."""


@dataclass(frozen=True)
class Change:
    """An event of a watch."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Manifest


class Cluster:
    """The API server of one thread.

    Args:
        connect: opens a connection.

    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect, self._connection = connect, connect()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def another(self) -> Cluster:
        """Return the same for another thread."""
        return Cluster(self._connect)

    def user(self) -> str:
        """Return the user's name as the API server knows it."""
        body = {"apiVersion": _REVIEWS.api_version, "kind": _REVIEWS.kind}
        return str(self._ask("POST", _REVIEWS.path(), body=body)["status"]["userInfo"]["username"])

    def may(self, verb: str, resource: Resource, namespace: str, name: str) -> bool:
        """Tell whether the user may do ``verb`` to an object."""
        what = {
            "group": resource.group,
            "resource": resource.plural,
            "namespace": namespace,
            "name": name,
            "verb": verb,
        }
        body = {"apiVersion": _ACCESS.api_version, "kind": _ACCESS.kind, "spec": {"resourceAttributes": what}}
        return bool(self._ask("POST", _ACCESS.path(), body=body)["status"]["allowed"])

    def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        """Return an object, or raise NotThere."""
        return self._ask("GET", resource.path(namespace, name))

    def list(
        self, resource: Resource, namespace: str | None, selector: Mapping[str, str] | None = None
    ) -> tuple[list[Manifest], str]:
        """Return all objects of a kind, and the version at which a watch takes up."""
        parameters, found = {"limit": "500"} | dict(selector or {}), list[Manifest]()
        while True:
            page = self._ask("GET", resource.path(namespace), parameters)
            found += page.get("items") or ()
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return found, str(metadata.get("resourceVersion", ""))
            parameters["continue"] = metadata["continue"]

    def watch(
        self,
        resource: Resource,
        namespace: str | None,
        version: str,
        selector: Mapping[str, str] | None = None,
        seconds: float = _SILENCE_SECONDS,
    ) -> Generator[Change, None, None]:
        """Yield changes since ``version``, until the server ends the watch or is silent for ``seconds``."""
        parameters = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, min(_WATCH_SECONDS, int(seconds)))),
        }
        stream = self._connect().stream(resource.path(namespace), parameters | dict(selector or {}), seconds)
        with closing(stream) as lines:
            status = next(lines)
            for line in lines:
                yield _change(status, line)

    def act(self, manifest: Manifest) -> Manifest:
        """Create a RolloutAction, once: when the answer is lost it is sent again under its name."""
        metadata = manifest["metadata"]
        path = ROLLOUT_ACTIONS.path(metadata["namespace"])
        try:
            return self._ask("POST", path, _MANAGER, manifest)
        except KubernetesUnavailable:
            try:
                return self._ask("POST", path, _MANAGER, manifest)
            except AlreadyThere:
                return self.get(ROLLOUT_ACTIONS, metadata["namespace"], metadata["name"])

    def _ask(
        self, method: str, path: str, parameters: Mapping[str, str] | None = None, body: Manifest | None = None
    ) -> Manifest:
        status, document = self._connection.ask(method, path, parameters, body)
        if status >= 300:
            raise _error(status, document)
        if not isinstance(document, dict):
            raise KubernetesUnavailable("what answers is no API server: it sent no JSON")
        return document


def _change(status: int, line: Any) -> Change:
    """Return the change that a line of a watch tells, or raise what it complains of."""
    if status != 200:
        raise _error(status, line)
    if not isinstance(line, dict):
        raise KubernetesUnavailable("a watch ended in the middle of a line")
    if line["type"] == "ERROR":
        raise _error(int(line["object"].get("code", 500)), line["object"])
    return Change(line["type"], line["object"])


def _error(status: int, document: Any) -> KubernetesError:
    """Return the error that an answer means; its message is the API server's."""
    known: dict[str, Any] = document if isinstance(document, dict) else {}
    message = str(known.get("message") or document or f"HTTP {status}")
    if status == 404:
        # A kind that is not served is answered without a name of what was not found.
        return NotThere(message) if (known.get("details") or {}).get("name") else KindMissing(message)
    if status == 401:
        return Unauthenticated(message)
    if status == 403:
        return KubernetesForbidden(message)
    if status == 409:
        return AlreadyThere(message) if known.get("reason") == "AlreadyExists" else Conflict(message)
    if status == 410:
        return Expired(message)
    if status in (408, 429) or status >= 500:
        return KubernetesUnavailable(message)
    return Refused(message)
