"""Requests to the API server, as plain paths and JSON. It holds no cache and tries nothing twice.

The connection (kubeconfig, service account, exec plugins) is lightkube's; its typed objects would drop the fields that
they do not know, and the controller compares whole objects.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2 as httpx
from lightkube.config.client_adapter import ConnectionParams
from lightkube.config.kubeconfig import KubeConfig

from registry.errors import (
    AlreadyThere,
    Conflict,
    KubernetesError,
    KubernetesForbidden,
    KubernetesUnavailable,
    NotThere,
    Refused,
)
from registry.kubernetes.resources import Manifest, Resource
from registry.kubernetes.writes import Write

FIELD_MANAGER = "telltale-registry"
_PAGE = "500"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

OnCall = Callable[[str, str, int, float], None]
"""Told of each request: verb, resource, HTTP status (0 where no answer came), seconds."""


def connect(timeout: float, connections: int = 20) -> httpx.Client:
    """Open a client as the environment says: a service account's, or KUBECONFIG's current context.

    Args:
        timeout: of each request, in seconds.
        connections: how many requests there are at once; so many connections are kept, since a handshake takes longer
            than most requests.

    """
    config = KubeConfig.from_env().get()
    if config is None:
        raise KubernetesError("there is neither a service account nor a kubeconfig with a current context")
    parameters = ConnectionParams(timeout=httpx.Timeout(timeout), trust_env=False).httpx_params(config)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=connections)
    return httpx.Client(**parameters, limits=limits)


class KubernetesApi:
    """The API server.

    Args:
        client: the connection; it may be used by several threads.
        on_call: told of each request.

    """

    def __init__(self, client: httpx.Client, on_call: OnCall | None = None) -> None:
        self._client = client
        self._on_call = on_call

    def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        """Return an object, or None if there is none."""
        try:
            return self._ask("get", "GET", resource, resource.path(namespace, name))
        except NotThere:
            return None

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        labels: str | None = None,
        *,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> Iterator[Manifest]:
        """Yield all objects of a kind with these labels and fields, in a namespace or in all, a page at a time."""
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        parameters = {"limit": _PAGE} | {name: value for name, value in selectors.items() if value}
        headers = {"Accept": _METADATA_ONLY} if metadata_only else {}
        while True:
            page = self._ask("list", "GET", resource, resource.path(namespace), parameters, headers)
            yield from page.get("items") or ()
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            parameters["continue"] = token

    def write(self, write: Write) -> Manifest:
        """Do a write; see `registry.kubernetes.writes.Writes`."""
        resource, manifest = write.resource, write.manifest
        path = resource.path(write.namespace, write.name)
        manager = {"fieldManager": FIELD_MANAGER}
        if write.verb == "create":
            return self._ask("create", "POST", resource, resource.path(write.namespace), manager, body=manifest)
        if write.verb == "apply":
            headers = {"Content-Type": "application/apply-patch+yaml"}
            return self._ask("apply", "PATCH", resource, path, manager | {"force": "true"}, headers, manifest)
        if write.verb == "delete":
            options = {"preconditions": {"uid": write.uid}, "propagationPolicy": "Background"}
            return self._ask("delete", "DELETE", resource, path, body=options)
        if write.verb == "replaceStatus":
            path = resource.path(write.namespace, write.name, "status")
        return self._ask(write.verb, "PUT", resource, path, manager, body=manifest)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _ask(
        self,
        verb: str,
        method: str,
        resource: Resource,
        path: str,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Manifest | None = None,
    ) -> Manifest:
        content = None if body is None else json.dumps(body)
        sent = ({"Content-Type": "application/json"} if body is not None else {}) | dict(headers or {})
        began, status = time.monotonic(), 0
        try:
            answer = self._client.request(method, path, params=parameters, headers=sent, content=content)
            status = answer.status_code
        except httpx.HTTPError as error:
            raise KubernetesUnavailable(f"{verb} {path}: {type(error).__name__}: {error}") from error
        finally:
            if self._on_call is not None:
                self._on_call(verb, resource.plural, status, time.monotonic() - began)
        return answered(answer, f"{verb} {path}")


def answered(answer: httpx.Response, what: str) -> Manifest:
    """Return what the API server answered, or raise the error that it means."""
    try:
        document: Any = answer.json()
    except ValueError as error:
        raise KubernetesUnavailable(f"{what}: {answer.status_code} without a JSON document") from error
    if not isinstance(document, dict):
        raise KubernetesUnavailable(f"{what}: {answer.status_code} with a document that is no object")
    if answer.is_success:
        return document
    raise _error(answer, document, f"{what}: {document.get('message') or answer.reason_phrase}")


def _error(answer: httpx.Response, document: Manifest, message: str) -> KubernetesError:
    code, reason = answer.status_code, document.get("reason")
    if code == 409:
        return AlreadyThere(message) if reason == "AlreadyExists" else Conflict(message)
    if code == 404:
        return NotThere(message)
    if code in (401, 403):
        return KubernetesForbidden(message)
    if code in (408, 410, 429) or code >= 500:
        # 410: a list went on for so long that its token expired. It begins anew.
        after = answer.headers.get("Retry-After", "")
        return KubernetesUnavailable(message, float(after) if after.isdigit() else None)
    return Refused(message)
