"""A namespace of a real cluster, a real MLflow, and controllers on both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.kubernetes.resources import SERVED_MODELS, Manifest
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.controller_process import ControllerProcess
from tests.registry.cluster.mlflow_process import MlflowProcess, Versions

Start = Callable[..., ControllerProcess]
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    """The cluster to test on."""
    path = os.environ.get("KUBECONFIG")
    if not path:
        pytest.skip("needs a cluster with KServe and the Gateway API's kinds: set KUBECONFIG")
    return path


@pytest.fixture
def cluster(kubeconfig: str) -> Iterator[Cluster]:  # noqa: ARG001
    """A namespace of its own."""
    found = Cluster(f"t{time.monotonic_ns() % 10**10}")
    found.install()
    found.make_namespace()
    yield found
    found.remove()


@pytest.fixture(scope="session")
def mlflow_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowProcess]:
    """A server for the session."""
    server = MlflowProcess(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mlflow(mlflow_session: MlflowProcess) -> MlflowProcess:
    """The server, which runs when a test begins."""
    if not mlflow_session.answers():
        mlflow_session.start()
    return mlflow_session


@pytest.fixture
def versions(mlflow: MlflowProcess) -> Versions:
    """Where versions are registered."""
    return Versions(mlflow.url)


@pytest.fixture
def start_controller(cluster: Cluster, mlflow: MlflowProcess, tmp_path: Path) -> Iterator[Start]:
    """Starts controllers of this namespace alone; they end with the test."""
    started: list[ControllerProcess] = []

    def start(identity: str = "one", **settings: str) -> ControllerProcess:
        own = {
            "TELLTALE_NAMESPACES": f'["{cluster.namespace}"]',
            "POD_NAMESPACE": cluster.namespace,
            "MLFLOW_TRACKING_URI": mlflow.url,
        }
        controller = ControllerProcess(tmp_path, identity, **(own | settings))
        started.append(controller)
        controller.start()
        return controller

    yield start
    for controller in started:
        controller.kill()


def spec_of(model: str, **more: object) -> Manifest:
    """Return a ServedModel's spec; a step's times are short."""
    return {
        "model": {"name": model, "alias": "champion"},
        "predictor": {
            "image": "telltale/predictor:dev",
            "modelStore": "s3://models/store",
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "1Gi"}},
        },
        "route": {
            "gatewayRef": {"name": "telltale", "namespace": "gateway"},
            "hostnames": ["cars.example.com"],
            "grpcHostnames": ["cars-grpc.example.com"],
        },
        "rollout": {
            "steps": [{"setWeight": 10}, {"pause": {"durationSeconds": 1}}, {"setWeight": 50}],
            "progressDeadlineSeconds": 60,
        },
        "gates": [{"name": "flags", "mlflow": {"metric": "holdout_flag_rate", "max": 0.2}}],
        "rollback": {"keepWarmSeconds": 60, "autoWindowSeconds": 2},
        **more,
    }


@pytest.fixture
def model() -> str:
    """A model that no other test has."""
    return f"cars{time.monotonic_ns() % 10**10}"


@pytest.fixture
def serve(cluster: Cluster, model: str) -> Callable[..., Manifest]:
    """Creates the ServedModel `cars`."""

    def create(**more: object) -> Manifest:
        return cluster.create(SERVED_MODELS, "cars", spec_of(model, **more))

    return create
