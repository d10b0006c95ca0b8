"""The kinds that the controller reads and writes, and their paths in the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from registry.api.group import GROUP, VERSION

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A kind of the API; an empty group is the core's."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """What an object of it has as `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of an object, or without a name that of all of them."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part is not None]
        return "/" + "/".join(parts)


SERVED_MODELS = Resource(GROUP, VERSION, "servedmodels", "ServedModel")
MODEL_REVISIONS = Resource(GROUP, VERSION, "modelrevisions", "ModelRevision")
ROLLOUT_ACTIONS = Resource(GROUP, VERSION, "rolloutactions", "RolloutAction")
INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
HTTP_ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
GRPC_ROUTES = Resource("gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute")
GATEWAYS = Resource("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
GATEWAY_CLASSES = Resource("gateway.networking.k8s.io", "v1", "gatewayclasses", "GatewayClass")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
SERVICES = Resource("", "v1", "services", "Service")
PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")

# What the controller makes for a ServedModel, in the order in which it is read.
SERVING = (INFERENCE_SERVICES, SERVICES, HTTP_ROUTES, GRPC_ROUTES)
_BY_KIND = {resource.kind: resource for resource in (*SERVING, MODEL_REVISIONS, SERVED_MODELS, ROLLOUT_ACTIONS)}


def resource_of(manifest: Manifest) -> Resource:
    """Return the resource of an object that the controller makes."""
    return _BY_KIND[manifest["kind"]]
