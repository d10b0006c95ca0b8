"""People at the API server, each with what they may do, and the kinds and policies as the chart installs them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig

from registry.crds import KINDS, crd
from registry.kubernetes.resources import Manifest, Resource
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]
_APPLY = {"Content-Type": "application/apply-patch+yaml"}


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    status: int
    document: Manifest
    warnings: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """What it said to a person."""
        return str(self.document.get("message", ""))


class Person:
    """Somebody who asks the API server.

    Args:
        namespace: where they work.
        name: whose kubeconfig beside KUBECONFIG is taken; a cluster without such users is asked in their name. None for
            the administrator.

    """

    def __init__(self, namespace: str, name: str | None = None) -> None:
        self.namespace, self.name = namespace, name
        administrator = Path(os.environ["KUBECONFIG"])
        own = administrator.with_name(f"kubeconfig-{name}")
        config = KubeConfig.from_file(own if own.is_file() else administrator).get()
        assert config is not None
        self._client = Client(config, ConnectionParams(timeout=httpx.Timeout(10.0), trust_env=False))
        self._headers = {"Impersonate-User": name} if name is not None and not own.is_file() else {}

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request."""
        sent = {"Content-Type": "application/json"} | self._headers | dict(headers or {})
        answer = self._client.request(method, path, params=dict(parameters or {}), headers=sent, json=body)
        return Answer(answer.status_code, answer.json(), tuple(answer.headers.get_list("Warning")))

    def create(self, resource: Resource, name: str, spec: Any, *, dry_run: bool = False, **more: Any) -> Answer:
        """Create an object, or ask whether it could be created."""
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
            **more,
        }
        return self.ask("POST", resource.path(self.namespace), body, {"dryRun": "All"} if dry_run else {})

    def patch(self, resource: Resource, name: str, patch: Manifest, subresource: str | None = None) -> Answer:
        """Change an object by a merge patch."""
        path = resource.path(self.namespace, name, subresource)
        return self.ask("PATCH", path, patch, headers={"Content-Type": "application/merge-patch+json"})

    def get(self, resource: Resource, name: str) -> Answer:
        """Read an object."""
        return self.ask("GET", resource.path(self.namespace, name))

    def delete(self, resource: Resource, name: str) -> Answer:
        """Delete an object."""
        return self.ask("DELETE", resource.path(self.namespace, name))

    def apply(self, path: str, manifest: Manifest) -> None:
        """Make an object as it is given."""
        parameters = {"fieldManager": "tests", "force": "true"}
        answer = self.ask("PATCH", f"{path}/{manifest['metadata']['name']}", manifest, parameters, _APPLY)
        assert answer.status in (200, 201), answer.message

    def make_namespace(self) -> None:
        """Make the namespace."""
        self.apply(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        )

    def remove_namespace(self) -> None:
        """Take the namespace away, without waiting for it."""
        self.ask("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def install_kinds(self) -> None:
        """Install the controller's kinds, and wait until the API server goes by them."""
        for kind in KINDS:
            self.apply("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd(kind))
        for kind in KINDS:
            wait_for(partial(self._refuses_nothing, kind.resource), f"{kind.resource.kind}'s schema")

    def _refuses_nothing(self, resource: Resource) -> bool:
        return "Required value" in self.create(resource, "nothing", {}, dry_run=True).message


def documents(name: str) -> list[Manifest]:
    """Return the objects of one of the chart's files."""
    return list(yaml.safe_load_all((ROOT / "charts" / "telltale" / "files" / "registry" / name).read_text()))
