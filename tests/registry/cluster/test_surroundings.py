"""What the controller stands on goes away: the API server, the gateway, the namespace."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Iterator

import pytest

from registry.kubernetes.resources import EVENTS, HTTP_ROUTES, PODS, SERVED_MODELS, Manifest, Resource
from registry.rollout.manifests import REVISION_LABEL
from tests.registry.cluster.cluster import NAMESPACES, Cluster
from tests.registry.cluster.conftest import Start, spec_of
from tests.registry.cluster.in_process import Hand, hand
from tests.registry.cluster.mlflow_process import Versions
from tests.waiting import wait_for

OPEN: tuple[Manifest, ...] = ({"setWeight": 10}, {"pause": {}})
RESOURCE_QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
NO_STEPS = {"steps": [], "progressDeadlineSeconds": 60}


def test_an_api_server_that_is_killed_and_started_again_holds_a_rollout_up_and_ends_none(
    cluster: Cluster, versions: Versions, model: str, start_controller: Start
) -> None:
    command = os.environ.get("TELLTALE_TEST_RESTART_API_SERVER")
    if not command:
        pytest.skip("needs a command that kills the API server and starts it: set TELLTALE_TEST_RESTART_API_SERVER")
    versions.alias(model, versions.register(model, "20260101000000"))
    controller = start_controller()
    cluster.create(SERVED_MODELS, "cars", spec_of(model, rollout=NO_STEPS))
    first = cluster.wait_for_phase("Healthy")["stableRevision"]
    steps = [*OPEN, {"setWeight": 50}, {"pause": {"durationSeconds": 1}}]
    cluster.patch(SERVED_MODELS, "cars", {"spec": {"rollout": {"steps": steps}}})
    versions.alias(model, versions.register(model, "20260102000000"))
    second = cluster.wait_for_phase("Paused")["candidateRevision"]
    restarted = subprocess.run(shlex.split(command), check=False, timeout=120, capture_output=True, text=True)
    assert restarted.returncode == 0, restarted.stderr
    began = time.monotonic()
    wait_for(cluster.is_ready, "the API server", 60)
    cluster.act("Resume")
    wait_for(lambda: cluster.status()["stableRevision"] == second, "the end of the rollout", 60)
    assert time.monotonic() - began < 60
    assert cluster.weights() == {second: 100} != {first: 100}
    assert cluster.status()["attempts"] == 2
    assert controller.ask("/healthz"), "the process that began is well"


def test_a_candidate_that_loses_its_pods_gives_its_requests_back_and_gets_them_again_with_new_ones(
    cluster: Cluster, versions: Versions, model: str, start_controller: Start
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    start_controller()
    cluster.create(SERVED_MODELS, "cars", spec_of(model, rollout=NO_STEPS))
    first = cluster.wait_for_phase("Healthy")["stableRevision"]
    cluster.patch(SERVED_MODELS, "cars", {"spec": {"rollout": {"steps": [{"setWeight": 50}, {"pause": {}}]}}})
    versions.alias(model, versions.register(model, "20260102000000"))
    second = cluster.wait_for_phase("Paused")["candidateRevision"]
    # What takes pods and lets none come: here a quota, else a drained node.
    cluster.create(RESOURCE_QUOTAS, "none", {"hard": {"pods": "0"}})
    wait_for(lambda: (cluster.get(RESOURCE_QUOTAS, "none") or {}).get("status", {}).get("used"), "the quota")
    for pod in cluster.api.list(PODS, cluster.namespace, f"{REVISION_LABEL}={second}"):
        cluster.delete(PODS, pod["metadata"]["name"])
    wait_for(lambda: cluster.weights().get(first) == 100, "the way back")
    wait_for(lambda: "exceeded quota: none" in cluster.status()["message"], "why no pod comes")
    assert cluster.status()["candidateRevision"] == second, "it is not rejected before the deadline"
    assert "GaveBack" in {event["reason"] for event in cluster.list(EVENTS)}
    cluster.delete(RESOURCE_QUOTAS, "none")
    # The ReplicaSet tries again after a pause that doubles.
    wait_for(lambda: cluster.weights() == {first: 50, second: 50}, "its weight again", 60)
    assert cluster.wait_for_phase("Paused")["candidateRevision"] == second


@pytest.fixture
def driven(cluster: Cluster) -> Iterator[Hand]:
    """A controller that wants to hear from a gateway."""
    with hand(cluster, require_route_acceptance=True) as found:
        yield found


def accept(driven: Hand) -> None:
    """Take the route, as a gateway does."""
    route = driven.cluster.get(HTTP_ROUTES, "cars")
    if route is None:
        return
    seen = {"status": "True", "observedGeneration": route["metadata"]["generation"], "reason": "Accepted"}
    conditions = [
        {"type": kind, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"} | seen
        for kind in ("Accepted", "ResolvedRefs")
    ]
    parents = [
        {"parentRef": parent, "controllerName": "example.com/gateway", "conditions": conditions}
        for parent in route["spec"]["parentRefs"]
    ]
    if route.get("status", {}).get("parents") != parents:
        driven.cluster.patch(HTTP_ROUTES, "cars", {"status": {"parents": parents}}, subresource="status")


def with_gateway(driven: Hand, phase: str) -> Manifest:
    """Look until a phase is reached, while a gateway takes every route."""
    driven.cluster.patch(SERVED_MODELS, "cars", {"spec": {"route": {"grpcHostnames": []}}})

    def is_there() -> bool:
        accept(driven)
        return bool(driven.cluster.status().get("phase") == phase)

    driven.look_until(is_there, phase)
    return driven.cluster.status()


def test_a_first_revision_without_a_gateway_waits_is_rejected_and_comes_with_a_retry(driven: Hand) -> None:
    driven.create(deadline=30)
    said = "the Gateway gateway/telltale has not taken the route"
    driven.look_until(lambda: said in driven.cluster.status().get("message", ""), "a word")
    status, reason, message = driven.conditions()["TrafficInSync"]
    assert (status, reason) == ("False", "OutOfSync")
    assert message == f"the HTTPRoute: {said}"
    assert driven.conditions()["Ready"][:2] == ("False", "NothingServes")
    driven.clock.jump(31)
    rejection = driven.rest("Rejected")["rejectedRevisions"][0]
    assert rejection["reason"] == "DeadlineExceeded"
    assert said in rejection["message"]
    driven.cluster.act("Retry")
    assert with_gateway(driven, "Healthy")["stableRevision"] == rejection["revision"]


def test_a_gateway_that_goes_away_in_a_rollout_holds_it_and_the_way_back_is_written_all_the_same(driven: Hand) -> None:
    driven.create()
    first = with_gateway(driven, "Healthy")["stableRevision"]
    driven.cluster.patch(SERVED_MODELS, "cars", {"spec": {"rollout": {"steps": list(OPEN)}}})
    driven.move_alias()
    driven.look_until(lambda: len(driven.cluster.weights()) == 2, "10 %")
    driven.look_for(1.0)
    status = driven.cluster.status()
    assert status["phase"] == "Progressing"
    assert "the Gateway gateway/telltale has not followed yet" in status["message"]
    driven.cluster.act("Abort")
    driven.look_until(lambda: driven.cluster.weights() == {first: 100}, "the way back")
    driven.look_for(1.0)
    status = driven.cluster.status()
    assert status["phase"] == "RollingBack", "requests may still go to the candidate: its pods stay"
    assert status["candidateRevision"] in driven.cluster.inference_services()
    assert with_gateway(driven, "Rejected")["stableRevision"] == first
    assert driven.cluster.inference_services() == {first}


def test_a_namespace_that_is_deleted_in_a_rollout_takes_all_with_it_and_others_go_on(
    cluster: Cluster, versions: Versions, model: str, start_controller: Start
) -> None:
    other = Cluster(f"{cluster.namespace}-gone")
    other.make_namespace()
    namespaces = f'["{cluster.namespace}", "{other.namespace}"]'
    controller = start_controller(TELLTALE_NAMESPACES=namespaces, TELLTALE_LEADER_ELECTION="false")
    versions.alias(model, versions.register(model, "20260101000000"))
    for place in (cluster, other):
        place.create(SERVED_MODELS, "cars", spec_of(model, rollout=NO_STEPS))
    first = {place: place.wait_for_phase("Healthy")["stableRevision"] for place in (cluster, other)}
    for place in (cluster, other):
        place.patch(SERVED_MODELS, "cars", {"spec": {"rollout": {"steps": list(OPEN)}}})
    versions.alias(model, versions.register(model, "20260102000000"))
    other.wait_for_phase("Paused")
    other.remove()
    wait_for(lambda: cluster.api.get(NAMESPACES, None, other.namespace) is None, "the end of the namespace", 90)
    cluster.wait_for_phase("Paused")
    cluster.act("Promote")
    wait_for(lambda: cluster.status()["stableRevision"] != first[cluster], "the other namespace's rollout", 30)
    assert [line["message"] for line in controller.lines() if "could not be looked at" in line["message"]] == []
    # Nothing of the other namespace is looked at any more.
    written = len(controller.lines())
    looks = time.monotonic() + 3
    wait_for(lambda: time.monotonic() > looks, "a while", 10)
    assert [line for line in controller.lines()[written:] if other.namespace in str(line)] == []
