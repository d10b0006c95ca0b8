"""A whole life of a ServedModel by a controller that has its own role, and no other right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.kubernetes.resources import HTTP_ROUTES, MODEL_REVISIONS, ROLLOUT_ACTIONS, Manifest
from tests.registry.cluster.access import (
    install_controller_account,
    install_policies,
    install_roles,
    kubeconfig_of_controller,
    make_namespace,
    may,
    wait_for_policies,
)
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.conftest import Start
from tests.registry.cluster.mlflow_process import Versions
from tests.registry.cluster.people import Person
from tests.waiting import wait_for

Serve = Callable[..., Manifest]
OPEN_PAUSE = {"steps": [{"setWeight": 10}, {"pause": {}}], "progressDeadlineSeconds": 60}


@pytest.fixture
def administrator(cluster: Cluster) -> Iterator[Person]:
    """The administrator, where the chart's kinds, roles and policies hold."""
    person = Person(cluster.namespace)
    person.install_kinds()
    make_namespace(person, cluster.namespace)
    install_roles(person)
    made = install_policies(person, cluster.namespace) + install_controller_account(person)
    wait_for_policies(person)
    yield person
    for path in made:
        person.ask("DELETE", path)
    person.close()


@pytest.fixture
def account(administrator: Person) -> str:
    """The user name of the controller's account."""
    name = f"system:serviceaccount:{administrator.namespace}:telltale-registry"
    asked = {"group": "registry.telltale.dev", "resource": "modelrevisions", "verb": "create"}
    wait_for(lambda: may(administrator, name, **asked), "the controller's role")
    return name


def act(administrator: Person, action: str) -> None:
    """Have the administrator do something, under the name by which the API server knows her."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    asked = administrator.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    user = asked.document["status"]["userInfo"]["username"]
    spec = {"servedModel": "cars", "action": action, "requestedBy": user}
    answer = administrator.create(ROLLOUT_ACTIONS, f"cars-{time.monotonic_ns()}", spec)
    assert answer.status == 201, answer.message


def states(cluster: Cluster) -> set[str | None]:
    """Return what came of the actions."""
    return {one.get("status", {}).get("state") for one in cluster.list(ROLLOUT_ACTIONS)}


def hostnames(cluster: Cluster) -> list[str]:
    """Return the hosts of the HTTPRoute."""
    route = cluster.get(HTTP_ROUTES, "cars")
    assert route is not None
    found: list[str] = route["spec"]["hostnames"]
    return found


@pytest.mark.usefixtures("account")
def test_its_role_is_enough_for_rollouts_aborts_and_clean_up(
    administrator: Person,
    cluster: Cluster,
    kubeconfig: str,
    versions: Versions,
    model: str,
    serve: Serve,
    start_controller: Start,
    tmp_path: Path,
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    own = kubeconfig_of_controller(administrator, Path(kubeconfig), tmp_path)
    controller = start_controller(KUBECONFIG=str(own))
    serve(rollout=OPEN_PAUSE, revisionHistoryLimit=1, rollback={"keepWarmSeconds": 0, "autoWindowSeconds": 0})
    cluster.wait_for_phase("Paused")
    act(administrator, "Promote")
    first = cluster.wait_for_phase("Healthy")["stableRevision"]
    for version in ("20260102000000", "20260103000000", "20260104000000"):
        versions.alias(model, versions.register(model, version))
        cluster.wait_for_phase("Paused")
        act(administrator, "Abort")
        cluster.wait_for_phase("Rejected")
    assert cluster.weights() == {first: 100}
    wait_for(lambda: len(cluster.list(MODEL_REVISIONS)) <= 3, "the end of the oldest revisions")
    wait_for(lambda: states(cluster) == {"Applied"}, "the outcome of all actions")
    # What somebody changed in a route is taken back by a replacement, and not by server-side apply.
    cluster.patch(HTTP_ROUTES, "cars", {"spec": {"hostnames": ["other.example.com"]}})
    wait_for(lambda: hostnames(cluster) == ["cars.example.com"], "the route's own hostnames")
    forbidden = [line["message"] for line in controller.lines() if "forbidden" in line["message"].lower()]
    assert forbidden == []
    assert controller.stop() == 0


def test_its_role_is_for_nothing_else(administrator: Person, account: str) -> None:
    assert may(administrator, account, resource="secrets", verb="get", name="telltale-webhook")
    assert not may(administrator, account, resource="secrets", verb="get", name="other")
    assert not may(administrator, account, resource="secrets", verb="list")
    for resource, verb in (("servedmodels", "update"), ("servedmodels", "promote"), ("rolloutactions", "create")):
        assert not may(administrator, account, group="registry.telltale.dev", resource=resource, verb=verb)
    assert not may(administrator, account, resource="pods", verb="create")
    assert not may(administrator, account, resource="nodes", verb="list", namespace="")
    lease = {"group": "coordination.k8s.io", "resource": "leases", "verb": "update"}
    assert may(administrator, account, **lease, name="telltale-registry")
    assert not may(administrator, account, **lease, name="another")
    assert not may(administrator, account, **lease, name="telltale-registry", namespace="kube-system")
