"""The registry's controller as examples/registry installs it, beside a real MLflow, Prometheus and Gateway.

Beyond what tests/cluster/conftest.py takes from the environment:

    TELLTALE_TRAINER_IMAGE     an image that the nodes have or can pull; else it is built, and loaded by kind
    TELLTALE_PROMETHEUS_IMAGE  Prometheus, telltale-lab/prometheus:2

The controller and its roles go into the namespace `telltale`, as in the example; where there is one the tests are
skipped, since a Telltale that somebody uses is none to test on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from standalone.embedded_postgres import EmbeddedPostgres
from store.postgres import Postgres
from store.s3_objects import S3ObjectStore
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import BUCKET, PREFIX, on_nodes
from tests.cluster.registry.fleet import MODEL, Fleet
from tests.cluster.registry.served import EXAMPLES, Served
from tests.registry.cluster.cluster import Cluster as Objects

HERE = Path(__file__).parent
CHART = Path(__file__).parents[3] / "charts" / "telltale"
CONTROLLER = "deployment/telltale-registry"
_NAMESPACE = "telltale"
_KINDS = "crd/servedmodels.registry.telltale.dev"
# MLflow's ways with the libraries below it, and connections that its client leaves to the garbage collector.
MLFLOW_WARNINGS = (
    "ignore:.*``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
    "ignore:unclosed:ResourceWarning",
)

Serve = Callable[[str], Served]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            for warning in MLFLOW_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def trainer_image(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """The trainer's image, which holds the controller and MLflow's server, where the cluster's nodes find it."""
    return on_nodes("trainer", request, cluster)


@pytest.fixture(scope="session")
def sources(cluster: Cluster, trainer_image: str) -> None:
    """What the controller asks, an MLflow and a Prometheus, on their way."""
    cluster.apply(HERE / "mlflow.yaml", IMAGE=trainer_image)
    cluster.kubectl("create", "configmap", "discover", f"--from-file={HERE / 'discover.py'}")
    prometheus = os.environ.get("TELLTALE_PROMETHEUS_IMAGE", "telltale-lab/prometheus:2")
    cluster.apply(HERE / "prometheus.yaml", IMAGE=trainer_image, PROMETHEUS_IMAGE=prometheus)


@pytest.fixture(scope="session")
def mlflow_url(cluster: Cluster, sources: None, object_store: S3ObjectStore) -> Iterator[str]:  # noqa: ARG001 - in order
    """The address of the cluster's MLflow from here."""
    cluster.wait_for("Ready", "pod/mlflow", within=180)
    with cluster.forwarded("service/mlflow", 5000) as address:
        yield f"http://{address}"


@pytest.fixture(scope="session")
def controller(cluster: Cluster, trainer_image: str, sources: None) -> Iterator[Cluster]:  # noqa: ARG001 - in order
    """The controller's namespace; two replicas run in it, as the example has them."""
    home = Cluster(_NAMESPACE)
    if home.run("get", "namespace", _NAMESPACE).returncode == 0:
        pytest.skip(
            f"the cluster has a namespace {_NAMESPACE} that somebody may use; delete it, or take another cluster"
        )
    had_kinds = home.run("get", _KINDS).returncode == 0
    try:
        _install(home, cluster, trainer_image)
        yield home
    finally:
        home.run("delete", f"--filename={CHART / 'files' / 'registry'}", "--ignore-not-found", seconds=120)
        home.run("delete", "namespace", _NAMESPACE, seconds=120)
        if not had_kinds:
            home.run("delete", f"--filename={CHART / 'crds'}", seconds=120)


def _install(home: Cluster, cluster: Cluster, image: str) -> None:
    home.kubectl("create", "namespace", _NAMESPACE)
    home.kubectl("label", "namespace", _NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    home.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={CHART / 'crds'}")
    home.kubectl("apply", f"--filename={CHART / 'files' / 'registry'}")
    cluster.apply(HERE / "people.yaml")
    home.apply(
        EXAMPLES / "controller.yaml",
        IMAGE=image,
        MLFLOW_TRACKING_URI=f"http://mlflow.{cluster.namespace}.svc:5000",
        PROMETHEUS_URL=f"http://prometheus.{cluster.namespace}.svc:9090",
    )
    home.wait_for("Available", CONTROLLER, within=120)
    cluster.wait_for("Ready", "pod/prometheus", within=60)


@pytest.fixture(scope="session")
def fleet(postgres_server: EmbeddedPostgres, object_store: S3ObjectStore, mlflow_url: str) -> Iterator[Fleet]:
    """A trainer on the cluster's object store and MLflow, with a queue of its own."""
    url = f"{postgres_server.url.rpartition('/')[0]}/fleet"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE fleet TEMPLATE template_telltale")
    postgres = Postgres(url)
    postgres.open()
    yield Fleet(postgres, url, object_store, mlflow_url)
    postgres.close()


@pytest.fixture(scope="session")
def versions(fleet: Fleet) -> tuple[str, str]:
    """Two versions between which there is little to choose."""
    return fleet.train(), fleet.train()


@pytest.fixture(scope="session")
def alarming(fleet: Fleet) -> str:
    """A version that finds nearly every record of the load anomalous, and whose own holdout says nothing of that."""
    return fleet.train(around=6.0)


@pytest.fixture
def serve(cluster: Cluster, image: str, controller: Cluster, fleet: Fleet) -> Iterator[Serve]:
    """Returns ServedModels by their names, which are yet to be created; they go with the test."""
    objects = Objects(cluster.namespace)
    made: list[Served] = []

    def logs() -> str:
        return controller.run("logs", CONTROLLER, "--all-pods", "--tail=40").stdout

    def prepared(name: str) -> Served:
        namespace, _, gateway = os.environ.get("TELLTALE_GATEWAY_NAME", "gateway/telltale").partition("/")
        values = {
            "NAMESPACE": cluster.namespace,
            "NAME": name,
            "MODEL": MODEL,
            "IMAGE": image,
            "MODEL_STORE": f"s3://{BUCKET}/{PREFIX}",
            "S3_ENDPOINT": "http://seaweedfs:8333",
            "S3_REGION": "us-east-1",
            "GATEWAY": gateway,
            "GATEWAY_NAMESPACE": namespace,
            "HTTP_HOST": f"{name}.{cluster.namespace}.example.com",
            "GRPC_HOST": f"{name}-grpc.{cluster.namespace}.example.com",
        }
        made.append(Served(values, cluster, objects, fleet, logs))
        return made[-1]

    yield prepared
    for served in made:
        served.delete()
    objects.api.close()
