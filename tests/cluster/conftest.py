"""A namespace of its own in the cluster of KUBECONFIG, an S3 server in it, and the predictor's image on its nodes.

What the tests take as given comes from the environment, and fits `make kind-up`:

    KUBECONFIG                the cluster: KServe in Standard mode, and a Gateway API implementation
    TELLTALE_GATEWAY          where its Gateway answers, 127.0.0.1:30080
    TELLTALE_GATEWAY_NAME     namespace/name of the Gateway, gateway/telltale
    TELLTALE_PREDICTOR_IMAGE  an image that the nodes have or can pull; else it is built, and loaded by kind
    TELLTALE_SEAWEEDFS_IMAGE  an S3 server, telltale-lab/seaweedfs:4
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError

from store.model_store import ModelStore
from store.s3_objects import S3ObjectStore
from tests.cluster.cluster import Cluster, wait_until
from tests.images.conftest import built, docker  # noqa: F401 - a fixture
from tests.images.containers import Docker
from tests.images.trained_models import TrainedModel, train_into

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

HERE = Path(__file__).parent
BUCKET = "models"
PREFIX = "production"
_BUILD_SECONDS = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kind)
            item.add_marker(pytest.mark.timeout(_BUILD_SECONDS))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A fresh namespace that lets only pods of the restricted kind in."""
    for missing, cure in _missing():
        pytest.skip(f"{missing}; {cure}")
    cluster = Cluster(f"telltale-test-{secrets.token_hex(3)}")
    cluster.kubectl("create", "namespace", cluster.namespace)
    try:
        cluster.kubectl("label", "namespace", cluster.namespace, "pod-security.kubernetes.io/enforce=restricted")
        yield cluster
    finally:
        cluster.run("delete", "namespace", cluster.namespace, "--wait=true", seconds=180)


def _missing() -> Iterator[tuple[str, str]]:
    if "KUBECONFIG" not in os.environ:
        yield "KUBECONFIG names no cluster", "make kind-up starts one"
    elif shutil.which("kubectl") is None:
        yield "there is no kubectl on the path", "install it; make kind-up says where it has one"
    elif Cluster("default").run("get", "inferenceservices,httproutes,grpcroutes").returncode != 0:
        yield "the cluster does not answer, or has no KServe or Gateway API", "docs/kserve.md says what it needs"


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """The predictor's image, where the cluster's nodes find it."""
    return on_nodes("predictor", request, cluster)


def on_nodes(which: str, request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """Return the name of ``predictor`` or ``trainer``: the given one, or one that was just built and loaded."""
    given = os.environ.get(f"TELLTALE_{which.upper()}_IMAGE")
    if given:
        return given
    client: Docker = request.getfixturevalue("docker")
    name = built(client, which)
    context = cluster.kubectl("config", "current-context").strip()
    if not context.startswith("kind-") or shutil.which("kind") is None:
        pytest.skip(f"only kind takes an image from Docker; push it and name it by TELLTALE_{which.upper()}_IMAGE")
    load = ["kind", "load", "docker-image", name, f"--name={context.removeprefix('kind-')}"]
    done = subprocess.run(load, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return name


@pytest.fixture(scope="session")
def object_store(cluster: Cluster) -> Iterator[S3ObjectStore]:
    """An S3 server in the cluster, reached from here; and the credentials of one who may read it, for pods."""
    cluster.apply(
        HERE / "seaweedfs.yaml",
        SEAWEEDFS_IMAGE=os.environ.get("TELLTALE_SEAWEEDFS_IMAGE", "telltale-lab/seaweedfs:4"),
    )
    literals = ("AWS_ACCESS_KEY_ID=reader", "AWS_SECRET_ACCESS_KEY=reader-secret")
    cluster.kubectl(
        "create", "secret", "generic", "telltale-model-store", *(f"--from-literal={literal}" for literal in literals)
    )
    cluster.wait_for("Ready", "pod/seaweedfs", within=90)
    with cluster.forwarded("service/seaweedfs", 8333) as address:
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=f"http://{address}",
            region_name="us-east-1",
            aws_access_key_id="admin",
            aws_secret_access_key="admin-secret",
        )
        client.create_bucket(Bucket=BUCKET)
        wait_until(lambda: _takes_objects(client), "taking objects", within=60)
        yield S3ObjectStore(client, BUCKET, f"{PREFIX}/")


def _takes_objects(client: S3Client) -> bool:
    """Tell whether an object can be written: the server listens before it has a volume."""
    with suppress(ClientError):
        client.put_object(Bucket=BUCKET, Key="now", Body=b"1234")
        return True
    return False


@pytest.fixture(scope="session")
def trained(object_store: S3ObjectStore) -> TrainedModel:
    """A model in the cluster's model store."""
    return train_into(ModelStore(object_store))
