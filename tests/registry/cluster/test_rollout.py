from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from registry.kubernetes.resources import (
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    SERVICES,
    Manifest,
)
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.conftest import Start
from tests.registry.cluster.mlflow_process import Versions
from tests.waiting import wait_for

Serve = Callable[..., Manifest]
OPEN_PAUSE = {"steps": [{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}], "progressDeadlineSeconds": 60}


@pytest.fixture
def first(cluster: Cluster, versions: Versions, model: str, serve: Serve, start_controller: Start) -> str:
    """The revision that serves when a test begins; a rollout waits at 10 % for somebody."""
    versions.alias(model, versions.register(model, "20260101000000"))
    start_controller()
    serve(rollout=OPEN_PAUSE)
    # The first revision has the pause, too.
    cluster.wait_for_phase("Paused")
    cluster.act("Promote")
    return str(cluster.wait_for_phase("Healthy")["stableRevision"])


@pytest.fixture
def second(cluster: Cluster, versions: Versions, model: str, first: str) -> str:
    """A candidate that has 10 % and waits."""
    versions.alias(model, versions.register(model, "20260102000000"))
    status = cluster.wait_for_phase("Paused")
    candidate = str(status["candidateRevision"])
    assert cluster.weights() == {first: 90, candidate: 10}
    return candidate


def outcomes(cluster: Cluster) -> dict[str, str]:
    """Return what became of each revision."""
    return {found["metadata"]["name"]: found["status"]["outcome"] for found in cluster.list(MODEL_REVISIONS)}


def test_an_alias_that_is_moved_becomes_a_rollout_by_steps(
    cluster: Cluster, versions: Versions, model: str, serve: Serve, start_controller: Start
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    start_controller()
    serve()
    first = cluster.wait_for_phase("Healthy")["stableRevision"]
    assert cluster.weights() == {first: 100}

    seen: list[dict[str, int]] = []
    versions.alias(model, versions.register(model, "20260102000000"))

    def has_baked() -> Manifest | None:
        weights, status = cluster.weights(), cluster.status()
        if not seen or seen[-1] != weights:
            seen.append(weights)
        return status if status["phase"] == "Healthy" and status["stableRevision"] != first else None

    status = wait_for(has_baked, "the second version", 60)
    second = status["stableRevision"]
    assert seen == [{first: 100}, {first: 90, second: 10}, {first: 50, second: 50}, {second: 100}]
    assert cluster.inference_services() == {first, second}, "the former revision is kept warm"
    assert outcomes(cluster) == {first: "Superseded", second: "Stable"}
    route, service = cluster.get(HTTP_ROUTES, "cars"), cluster.get(SERVICES, "cars")
    assert route is not None
    assert service is not None
    assert route["spec"]["hostnames"] == ["cars.example.com"]
    assert service["spec"]["selector"] == {"serving.kserve.io/inferenceservice": second}


def test_an_abort_takes_all_traffic_from_the_candidate_and_says_who_did_it(
    cluster: Cluster, first: str, second: str
) -> None:
    action = cluster.act("Abort", reason="too many alarms")
    status = cluster.wait_for_phase("Rejected")
    assert cluster.weights() == {first: 100}
    assert status["stableRevision"] == first
    assert status["rejectedRevisions"][0] | {"at": ""} == {
        "revision": second,
        "reason": "Aborted",
        "message": f"the rollout of {second} was aborted by alice",
        "at": "",
        "by": "alice",
        "served": False,
        "lapsed": False,
    }
    wait_for(lambda: cluster.inference_services() == {first}, "the end of the candidate's pods")
    wait_for(lambda: outcomes(cluster) == {first: "Stable", second: "Rejected"}, "what became of it")
    found = cluster.get(ROLLOUT_ACTIONS, action["metadata"]["name"])
    assert found is not None
    assert found["status"]["state"] == "Applied"


def test_an_undo_while_the_former_revision_is_warm_only_writes_the_routes(
    cluster: Cluster, first: str, second: str
) -> None:
    cluster.act("Promote")
    assert cluster.wait_for_phase("Healthy")["stableRevision"] == second
    before = {one["metadata"]["name"]: one["metadata"]["generation"] for one in cluster.list(INFERENCE_SERVICES)}
    route = cluster.get(HTTP_ROUTES, "cars")
    assert route is not None
    cluster.act("Undo")
    wait_for(lambda: cluster.weights() == {first: 100}, "the way back", 5)
    written = cluster.get(HTTP_ROUTES, "cars")
    assert written is not None
    assert written["metadata"]["generation"] == route["metadata"]["generation"] + 1
    after = {one["metadata"]["name"]: one["metadata"]["generation"] for one in cluster.list(INFERENCE_SERVICES)}
    assert after[first] == before[first]
    assert cluster.wait_for_phase("Rejected")["stableRevision"] == first


def test_a_candidate_that_fails_an_offline_gate_or_takes_other_features_gets_no_traffic(
    cluster: Cluster, versions: Versions, model: str, serve: Serve, start_controller: Start
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    start_controller()
    serve()
    first = cluster.wait_for_phase("Healthy")["stableRevision"]
    faults: dict[str, dict[str, Any]] = {
        "GateFailed": {"metrics": {"holdout_flag_rate": 0.5}},
        "Incompatible": {"features": ("temperature", "speed")},
    }
    for day, (reason, fault) in enumerate(faults.items(), 2):
        versions.alias(model, versions.register(model, f"2026010{day}000000", **fault))
        wait_for(lambda reason=reason: reason in reasons(cluster), reason)
        assert cluster.wait_for_phase("Rejected")["stableRevision"] == first
        assert cluster.weights() == {first: 100}


def reasons(cluster: Cluster) -> set[str]:
    """Return why revisions are rejected."""
    return {one["reason"] for one in cluster.status()["rejectedRevisions"]}


def test_what_became_of_a_version_is_written_to_mlflow(
    cluster: Cluster, versions: Versions, model: str, first: str, second: str
) -> None:
    cluster.act("Abort", reason="no")
    cluster.wait_for_phase("Rejected")
    prefix = f"telltale.serving.{cluster.namespace}.cars"

    def noted() -> dict[str, str] | None:
        tags = versions.client.get_model_version(model, "2").tags
        return tags if tags.get(f"{prefix}.why", "").startswith("Aborted") else None

    tags = wait_for(noted, "the note", 20)
    assert (tags[f"{prefix}.outcome"], tags[f"{prefix}.revision"]) == ("Rejected", second)
    assert tags[f"{prefix}.why"] == f"Aborted: the rollout of {second} was aborted by alice (by alice)"
    alias = f"serving-{cluster.namespace}-cars"
    wait_for(lambda: versions.client.get_registered_model(model).aliases.get(alias) == "1", "the alias")

    def of_stable() -> tuple[str, ...]:
        tags = versions.client.get_model_version(model, "1").tags
        return tuple(tags.get(f"{prefix}.{name}", "") for name in ("outcome", "weight", "revision"))

    wait_for(lambda: of_stable() == ("Stable", "100", first), "the note on what serves")


def test_a_spec_that_cannot_be_followed_shows_as_a_condition_and_serves_what_served(
    cluster: Cluster, versions: Versions, model: str, serve: Serve, start_controller: Start
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    start_controller()
    serve()
    first = cluster.wait_for_phase("Healthy")["stableRevision"]
    # The schema counts a schedule's fields, and does not know what they mean.
    windows = [{"schedule": "99 0 * * *", "durationSeconds": 60}]
    cluster.patch(SERVED_MODELS, "cars", {"spec": {"freezeWindows": windows}})

    def said() -> Manifest | None:
        found = {condition["type"]: condition for condition in cluster.status()["conditions"]}
        return found["Degraded"] if found["Degraded"]["status"] == "True" else None

    degraded = wait_for(said, "Degraded=True")
    assert degraded["reason"] == "InvalidSpec"
    assert "99 0 * * *" in degraded["message"]
    assert cluster.weights() == {first: 100}


def test_revisions_beyond_the_history_limit_go(
    cluster: Cluster, versions: Versions, model: str, serve: Serve, start_controller: Start
) -> None:
    start_controller()
    names = []
    versions.alias(model, versions.register(model, "20260101000000"))
    serve(
        revisionHistoryLimit=1,
        rollout={"steps": [], "progressDeadlineSeconds": 60},
        rollback={"keepWarmSeconds": 0, "autoWindowSeconds": 0},
    )
    for day in range(1, 5):
        if day > 1:
            versions.alias(model, versions.register(model, f"2026010{day}000000"))
        wait_for(
            lambda: cluster.status().get("phase") == "Healthy" and cluster.status()["stableRevision"] not in names,
            f"version {day}",
        )
        names.append(cluster.status()["stableRevision"])
    wait_for(lambda: set(outcomes(cluster)) == set(names[-2:]), "the end of the oldest revisions")
    wait_for(lambda: cluster.inference_services() == {names[-1]}, "the end of the pods that do not serve")
