"""What the controller stands on here: a namespace of a real cluster, its own account, and a real MLflow.

The cluster is KUBECONFIG's and has KServe and the Gateway API's kinds. Nothing in it is touched but our kinds, our
roles and namespaces of our own, which go at the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx2 as httpx
import yaml

from benchmarks.processes import NotStarted
from benchmarks.registry.models import Models
from registry.crds import KINDS, crd
from registry.errors import KubernetesError
from registry.kubernetes.api import KubernetesApi, connect
from registry.kubernetes.resources import LEASES, ROLLOUT_ACTIONS, SERVED_MODELS, Manifest, Resource
from registry.kubernetes.writes import writing
from tests.registry.cluster.controller_process import ControllerProcess
from tests.registry.cluster.mlflow_process import MlflowProcess

_CHART = Path(__file__).resolve().parents[2] / "charts" / "telltale" / "files" / "registry"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_NUMBERS = count()
_Found = TypeVar("_Found")


def wait_for(look: Callable[[], _Found | None], what: str, seconds: float, pause: float = 0.05) -> _Found:
    """Return what ``look`` finds, asking until it finds something; NotStarted after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise NotStarted(f"{what} did not come within {seconds:g} s")
        time.sleep(pause)


@dataclass(frozen=True)
class Stage:
    """The cluster as a person has it, and what the controller is given.

    Args:
        namespace: of everything.
        api: the API server, asked as KUBECONFIG's user.
        client: the same, for watches.
        folder: for logs.
        models: in MLflow.
        mlflow_url: of the server.
        kubeconfig: of the controller's own account.
        user: by whom actions are requested: KUBECONFIG's user, as the chart's policies demand.

    """

    namespace: str
    api: KubernetesApi
    client: httpx.Client
    folder: Path
    models: Models
    mlflow_url: str
    kubeconfig: Path
    user: str

    @property
    def account(self) -> str:
        """The controller's user name, as the API server's audit log has it."""
        return f"system:serviceaccount:{self.namespace}:telltale-registry"

    def controller(self, identity: str, **settings: str) -> ControllerProcess:
        """Return a replica, not yet started."""
        own = {
            "KUBECONFIG": str(self.kubeconfig),
            "TELLTALE_NAMESPACES": f'["{self.namespace}"]',
            "POD_NAMESPACE": self.namespace,
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            # As they are by default, and not as tests set them.
            "TELLTALE_MLFLOW_POLL_SECONDS": "5",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        }
        return ControllerProcess(self.folder, identity, **(own | settings))

    def create(self, resource: Resource, name: str, spec: Manifest, namespace: str | None = None) -> Manifest:
        """Create an object."""
        manifest = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": namespace or self.namespace},
            "spec": spec,
        }
        return self.api.write(writing("create", resource, manifest))

    def act(self, action: str, name: str, namespace: str | None = None) -> None:
        """Create a RolloutAction."""
        spec = {"servedModel": name, "action": action, "requestedBy": self.user}
        self.create(ROLLOUT_ACTIONS, f"{name}-{action.lower()}-{next(_NUMBERS)}", spec, namespace)

    def phases(self) -> dict[str, str]:
        """Return the phase of each ServedModel."""
        found = self.api.list(SERVED_MODELS, self.namespace)
        return {one["metadata"]["name"]: (one.get("status") or {}).get("phase", "") for one in found}

    def leader(self) -> str:
        """Return the replica that holds the Lease; empty where none does."""
        lease = self.api.get(LEASES, self.namespace, "telltale-registry")
        return str((lease or {}).get("spec", {}).get("holderIdentity") or "")


def served_model(model: str, *, pause: bool = False, **more: Any) -> Manifest:
    """Return a ServedModel's spec: half of the traffic, or with ``pause`` a tenth until somebody promotes, then all."""
    steps: list[Manifest] = [{"setWeight": 10}, {"pause": {}}] if pause else [{"setWeight": 50}]
    return {
        "model": {"name": model, "alias": "champion"},
        "predictor": {
            "image": "telltale/predictor:dev",
            "modelStore": "s3://models/store",
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "1Gi"}},
        },
        "route": {
            "gatewayRef": {"name": "telltale", "namespace": "gateway"},
            "hostnames": [f"{model}.example.com"],
        },
        "rollout": {"steps": steps, "progressDeadlineSeconds": 7200},
        "gates": [{"name": "flags", "mlflow": {"metric": "holdout_flag_rate", "max": 0.2}}],
        "rollback": {"keepWarmSeconds": 7200, "autoWindowSeconds": 2},
        **more,
    }


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Set the stage, and clear it away.

    Raises:
        NotStarted: there is no cluster, or something on it did not start.

    """
    if not os.environ.get("KUBECONFIG"):
        raise NotStarted("needs a cluster with KServe and the Gateway API's kinds: set KUBECONFIG")
    namespace = f"bench-{time.time_ns() // 10**6 % 10**9}"
    folder.mkdir(exist_ok=True)
    with ExitStack() as last:
        client = last.enter_context(connect(10.0, 32))
        _install_kinds(client, KubernetesApi(client), namespace)
        last.callback(take_away, client, f"/api/v1/namespaces/{namespace}")
        for path in _install_account(client, namespace):
            last.callback(take_away, client, path)
        mlflow = MlflowProcess(folder)
        last.callback(mlflow.stop)
        mlflow.start()
        yield Stage(
            namespace,
            KubernetesApi(client),
            client,
            folder,
            Models(mlflow.url),
            mlflow.url,
            _kubeconfig(client, namespace, folder),
            _user(client),
        )


def make_namespace(client: httpx.Client, namespace: str) -> None:
    """Make a namespace."""
    _apply(client, "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})


def take_away(client: httpx.Client, path: str) -> None:
    """Delete an object, without waiting for it; what was measured counts, even where that does not go well."""
    with suppress(httpx.HTTPError):
        client.delete(path)


def _install_kinds(client: httpx.Client, api: KubernetesApi, namespace: str) -> None:
    make_namespace(client, namespace)
    for kind in KINDS:
        _apply(client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd(kind))

    def are_served() -> bool:
        try:
            return all(list(api.list(kind.resource, namespace)) == [] for kind in KINDS)
        except KubernetesError:
            return False

    wait_for(are_served, "the API of our kinds", 60)


def _install_account(client: httpx.Client, namespace: str) -> list[str]:
    """Install the controller's account as the chart has it; return what is not in the namespace and has to go."""
    for role in yaml.safe_load_all((_CHART / "roles.yaml").read_text()):
        _apply(client, f"{_RBAC}/clusterroles", role)
    paths = []
    for manifest in yaml.safe_load_all((_CHART / "controller.yaml").read_text()):
        for subject in manifest.get("subjects", ()):
            subject["namespace"] = namespace
        plural = f"{manifest['kind'].lower()}s"
        if manifest["kind"] == "ClusterRoleBinding":
            manifest["metadata"]["name"] += f"-{namespace}"
            paths.append(f"{_RBAC}/clusterrolebindings/{manifest['metadata']['name']}")
            _apply(client, f"{_RBAC}/clusterrolebindings", manifest)
            continue
        manifest["metadata"]["namespace"] = namespace
        group = "/api/v1" if manifest["kind"] == "ServiceAccount" else _RBAC
        _apply(client, f"{group}/namespaces/{namespace}/{plural}", manifest)
    return paths


def _kubeconfig(client: httpx.Client, namespace: str, folder: Path) -> Path:
    """Write a kubeconfig with a token of the controller's account."""
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/telltale-registry"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 14_400}}
    answer = client.post(f"{account}/token", json=request)
    answer.raise_for_status()
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    current = next(context for context in config["contexts"] if context["name"] == config["current-context"])
    config["users"] = [{"name": current["context"]["user"], "user": {"token": answer.json()["status"]["token"]}}]
    path = folder / "kubeconfig-controller"
    path.write_text(yaml.safe_dump(config))
    return path


def _user(client: httpx.Client) -> str:
    """Return the name by which the API server knows KUBECONFIG's user."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review)
    answer.raise_for_status()
    return str(answer.json()["status"]["userInfo"]["username"])


def _apply(client: httpx.Client, path: str, manifest: Manifest) -> None:
    try:
        answer = client.patch(
            f"{path}/{manifest['metadata']['name']}",
            params={"fieldManager": "telltale-benchmarks", "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            json=manifest,
        )
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise NotStarted(f"{manifest['kind']} {manifest['metadata']['name']} cannot be made: {error}") from error
