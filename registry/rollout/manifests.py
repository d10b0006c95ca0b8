"""The objects that serve, as they follow from a status: InferenceServices, routes and the in-cluster Service. PURE.

What this returns is all there is to be: an object with our label that is not among it belongs to nobody and goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.api import group
from registry.api.base import API_VERSION
from registry.api.model_revision import ModelRevisionSpec
from registry.api.served_model import PredictorSpec, ServedModelSpec
from registry.api.status import ServedModelStatus

Manifest = dict[str, Any]

SERVED_MODEL_LABEL, REVISION_LABEL = group.SERVED_MODEL_LABEL, group.REVISION_LABEL
HTTP_PORT, GRPC_PORT = 8080, 8081
# KServe's Service for an InferenceService has the first container port as 80.
_SERVICE_HTTP_PORT = 80


@dataclass(frozen=True)
class Owner:
    """The ServedModel to which everything belongs, and with which it goes."""

    name: str
    namespace: str
    uid: str

    @property
    def labels(self) -> dict[str, str]:
        """What marks an object as its own."""
        return {SERVED_MODEL_LABEL: self.name, "app.kubernetes.io/managed-by": "telltale"}

    def metadata(self, name: str, **more: Any) -> Manifest:
        """Return the metadata of one of its objects."""
        reference = {
            "apiVersion": API_VERSION,
            "kind": "ServedModel",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
        }
        labels = self.labels | more.pop("labels", {})
        return {"name": name, "namespace": self.namespace, "labels": labels, "ownerReferences": [reference], **more}


def manifests(
    owner: Owner, spec: ServedModelSpec, status: ServedModelStatus, revisions: Mapping[str, ModelRevisionSpec]
) -> list[Manifest]:
    """Return all objects that serve, in the order in which they are to be written."""
    wanted = [name for name in _with_pods(status) if name in revisions]
    found = [inference_service(owner, name, revisions[name], spec.predictor) for name in wanted]
    if weights(status):
        found.append(http_route(owner, spec, status))
        if spec.route.grpc_hostnames:
            found.append(grpc_route(owner, spec, status))
    if status.stable_revision is not None:
        found.append(stable_service(owner, status.stable_revision))
    return found


def _with_pods(status: ServedModelStatus) -> Iterator[str]:
    """Yield the revisions that have pods: what serves, what is to serve, and what is kept warm."""
    seen: set[str] = set()
    for name in (status.stable_revision, status.candidate_revision, status.previous_revision):
        if name is not None and name not in seen:
            seen.add(name)
            yield name


def weights(status: ServedModelStatus) -> dict[str, int]:
    """Return the share of requests of each revision that gets some; they sum to 100, or there are none."""
    attempt, stable, candidate = status.attempt, status.stable_revision, status.candidate_revision
    share = attempt.weight if attempt is not None and candidate is not None else 0
    if stable is None:
        return {candidate: 100} if candidate is not None and share else {}
    if candidate is None or not share:
        return {stable: 100}
    return {name: weight for name, weight in ((stable, 100 - share), (candidate, share)) if weight}


def inference_service(
    owner: Owner, name: str, revision: ModelRevisionSpec, replicas: PredictorSpec | None = None
) -> Manifest:
    """Return a revision's InferenceService. Only the replica counts may ever change."""
    predictor, counts = revision.predictor, replicas or revision.predictor
    pods: Manifest = {
        "minReplicas": counts.min_replicas,
        "maxReplicas": counts.max_replicas,
        "scaleMetric": "cpu",
        "scaleTarget": counts.target_cpu_utilization,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(revision)],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    if predictor.service_account_name is not None:
        pods["serviceAccountName"] = predictor.service_account_name
    annotations = {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "hpa",
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": owner.metadata(name, labels={REVISION_LABEL: name}, annotations=annotations),
        "spec": {"predictor": pods},
    }


def _container(revision: ModelRevisionSpec) -> Manifest:
    predictor = revision.predictor
    settings = {
        "TELLTALE_MODEL_STORE": predictor.model_store,
        "TELLTALE_MODEL": revision.model,
        "TELLTALE_MODEL_VERSION": revision.version,
        "TELLTALE_ARTIFACT_DIGEST": revision.digest,
    }
    container: Manifest = {
        "name": "kserve-container",
        "image": predictor.image,
        "env": [{"name": name, "value": value} for name, value in (predictor.env | settings).items()],
        # The order matters: KServe's Service has the first as port 80, and the second as it is.
        "ports": [
            {"name": "http1", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "h2c", "containerPort": GRPC_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": _probe("/health/ready", period=2, failures=3),
        "livenessProbe": _probe("/healthz", period=10, failures=6),
        "resources": predictor.resources.dump(),
        # A process that ends says why in its last lines, and they are shown as the reason of a rejection.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume of its own
    }
    if predictor.env_from_secret is not None:
        container["envFrom"] = [{"secretRef": {"name": predictor.env_from_secret}}]
    return container


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": HTTP_PORT, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
        "successThreshold": 1,
    }


def stable_service(owner: Owner, stable: str) -> Manifest:
    """Return the Service by which clients inside the cluster reach what serves."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata(owner.name),
        "spec": {
            "selector": {"serving.kserve.io/inferenceservice": stable},
            "ports": [
                {"name": "http", "port": 80, "targetPort": HTTP_PORT, "protocol": "TCP"},
                {
                    "name": "grpc",
                    "port": GRPC_PORT,
                    "targetPort": GRPC_PORT,
                    "protocol": "TCP",
                    "appProtocol": "kubernetes.io/h2c",
                },
            ],
        },
    }


def http_route(owner: Owner, spec: ServedModelSpec, status: ServedModelStatus) -> Manifest:
    """Return the HTTPRoute: one object, so that all weights change in one write."""
    rule: Manifest = {
        "backendRefs": [_backend(name, _SERVICE_HTTP_PORT, weight) for name, weight in weights(status).items()],
        # Said even where there is none: a mirror that is no longer wanted must be seen to be too much.
        "filters": [],
    }
    attempt, candidate = status.attempt, status.candidate_revision
    if attempt is not None and candidate is not None and attempt.shadow_percent:
        mirror = {
            "backendRef": _reference(candidate, _SERVICE_HTTP_PORT),
            "percent": attempt.shadow_percent,
        }
        rule["filters"] = [{"type": "RequestMirror", "requestMirror": mirror}]
    rules = [rule, *_by_header(spec, status, rule, _SERVICE_HTTP_PORT)]
    return _route("HTTPRoute", owner, spec, spec.route.hostnames, rules)


def grpc_route(owner: Owner, spec: ServedModelSpec, status: ServedModelStatus) -> Manifest:
    """Return the GRPCRoute, with the weights and the header match of the HTTPRoute; gRPC requests are not mirrored."""
    backends = [_backend(name, GRPC_PORT, weight) for name, weight in weights(status).items()]
    rule = {"backendRefs": backends}
    rules = [rule, *_by_header(spec, status, rule, GRPC_PORT)]
    return _route("GRPCRoute", owner, spec, spec.route.grpc_hostnames, rules)


def _by_header(spec: ServedModelSpec, status: ServedModelStatus, everybody: Manifest, port: int) -> Iterator[Manifest]:
    """Yield the rule for requests with a header, which go where everybody's go until a step sends them elsewhere.

    Gateways may balance what they know by a rule's place, and change that before they change who goes there. So no rule
    may come, go or move while requests come: everybody's stays the first, and this one is there as long as the spec has
    a step that will need it. To whom a request belongs is a matter of what the rules ask for, not of their order.
    """
    attempt, candidate = status.attempt, status.candidate_revision
    matches = (step.match for step in spec.rollout.steps if step.match is not None)
    match, rule = next(matches, None), everybody
    if attempt is not None and attempt.match is not None and candidate is not None:
        match, rule = attempt.match, {"backendRefs": [_backend(candidate, port, 1)], "filters": []}
    if match is not None:
        header = {"type": "Exact", "name": match.header, "value": match.value}
        yield {"matches": [{"headers": [header]}], **rule}


def _route(kind: str, owner: Owner, spec: ServedModelSpec, hostnames: Sequence[str], rules: list[Manifest]) -> Manifest:
    gateway = spec.route.gateway_ref
    listener = {} if gateway.section_name is None else {"sectionName": gateway.section_name}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": owner.metadata(owner.name),
        "spec": {
            "parentRefs": [
                {
                    "group": "gateway.networking.k8s.io",
                    "kind": "Gateway",
                    "name": gateway.name,
                    "namespace": gateway.namespace or owner.namespace,
                    **listener,
                }
            ],
            "hostnames": list(hostnames),
            "rules": rules,
        },
    }


def _reference(revision: str, port: int) -> Manifest:
    return {"group": "", "kind": "Service", "name": f"{revision}-predictor", "port": port}


def _backend(revision: str, port: int, weight: int) -> Manifest:
    return _reference(revision, port) | {"weight": weight}
