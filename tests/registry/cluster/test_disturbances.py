from __future__ import annotations

import re
import time
from collections.abc import Callable

from registry.kubernetes.resources import (
    GRPC_ROUTES,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    LEASES,
    MODEL_REVISIONS,
    SERVED_MODELS,
    Manifest,
)
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.conftest import Start
from tests.registry.cluster.controller_process import ControllerProcess
from tests.registry.cluster.mlflow_process import Versions
from tests.waiting import wait_for

Serve = Callable[..., Manifest]


def writes(controller: ControllerProcess) -> float:
    """Return how many writes a controller has made."""
    counted = re.findall(
        r'^telltale_registry_api_calls_total\{.*verb="(?:create|apply|replace|replaceStatus|delete)"\} (\S+)$',
        controller.ask("/metrics"),
        re.MULTILINE,
    )
    return sum(map(float, counted))


def test_a_controller_that_has_nothing_to_do_writes_nothing(
    cluster: Cluster, versions: Versions, model: str, serve: Serve, start_controller: Start
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    controller = start_controller(TELLTALE_LEADER_ELECTION="false", TELLTALE_RELIST_SECONDS="0.5")
    serve()
    cluster.wait_for_phase("Healthy")
    counts = [-1.0]
    wait_for(lambda: counts.append(writes(controller)) or counts[-1] == counts[-2], "rest", 30)
    looks = time.monotonic() + 2.5
    wait_for(lambda: time.monotonic() > looks, "several lists", 10)
    assert writes(controller) == counts[-1]
    controller.kill()
    controller.start()
    looks = time.monotonic() + 2.5
    wait_for(lambda: time.monotonic() > looks, "several lists", 10)
    assert writes(controller) == 0, "a controller that starts anew and finds all as it should be writes nothing"


def test_a_served_model_deleted_in_a_rollout_takes_everything_with_it(
    cluster: Cluster, versions: Versions, model: str, serve: Serve, start_controller: Start
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    start_controller()
    serve()
    cluster.wait_for_phase("Healthy")
    versions.alias(model, versions.register(model, "20260102000000"))
    cluster.wait_for_phase("Progressing", "Paused")
    cluster.delete(SERVED_MODELS, "cars")
    for resource in (INFERENCE_SERVICES, HTTP_ROUTES, GRPC_ROUTES, MODEL_REVISIONS):
        wait_for(lambda resource=resource: not cluster.list(resource), f"the end of every {resource.kind}", 60)


def test_another_replica_takes_over_within_20_seconds_when_the_leader_is_killed(
    cluster: Cluster, versions: Versions, model: str, serve: Serve, start_controller: Start
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    one = start_controller("one")
    start_controller("two")
    serve()
    cluster.wait_for_phase("Healthy")
    assert holder(cluster) == "one"
    versions.alias(model, versions.register(model, "20260102000000"))
    cluster.wait_for_phase("Progressing", "Paused")
    one.kill()
    began = time.monotonic()
    wait_for(lambda: holder(cluster) == "two", "the other replica", 30)
    assert time.monotonic() - began <= 20
    wait_for(lambda: cluster.status()["phase"] == "Healthy", "the end of the rollout", 60)
    assert cluster.status()["resolved"]["version"] == "20260102000000"


def test_a_leader_that_is_stopped_hands_over_at_once(
    cluster: Cluster, versions: Versions, model: str, serve: Serve, start_controller: Start
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    one = start_controller("one")
    start_controller("two")
    serve()
    cluster.wait_for_phase("Healthy")
    assert one.stop() == 0
    wait_for(lambda: holder(cluster) == "two", "the other replica", 6)


def holder(cluster: Cluster) -> str:
    """Return who leads."""
    lease = cluster.get(LEASES, "telltale-registry")
    return "" if lease is None else str(lease["spec"]["holderIdentity"])


def test_a_controller_that_is_killed_in_a_rollout_ends_as_if_it_had_not_been(
    cluster: Cluster, versions: Versions, model: str, serve: Serve, start_controller: Start
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    controller = start_controller(TELLTALE_LEADER_ELECTION="false")
    serve()
    first = cluster.wait_for_phase("Healthy")["stableRevision"]
    versions.alias(model, versions.register(model, "20260102000000"))
    cluster.wait_for_phase("Progressing")
    controller.kill()
    controller.start()
    wait_for(lambda: cluster.status()["phase"] == "Healthy", "the end of the rollout", 60)
    status = cluster.status()
    assert status["resolved"]["revision"] == status["stableRevision"] != first
    assert cluster.weights() == {status["stableRevision"]: 100}
    assert status["attempts"] == 2
