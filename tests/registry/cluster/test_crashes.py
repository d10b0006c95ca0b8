from __future__ import annotations

import time
from typing import Any

import pytest

from registry.kubernetes.resources import MODEL_REVISIONS, ROLLOUT_ACTIONS, SERVED_MODELS, SERVICES
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.conftest import spec_of
from tests.registry.cluster.in_process import Crash, CrashingWrites, OneModel, controller

_SECONDS = 60.0


def start(cluster: Cluster, mlflow: OneModel) -> None:
    """Bring the first version to all of the traffic."""
    rollout = {"steps": [{"setWeight": 50}], "progressDeadlineSeconds": 60}
    spec = spec_of("cars", rollout=rollout, gates=[], rollback={"keepWarmSeconds": 600, "autoWindowSeconds": 0})
    cluster.create(SERVED_MODELS, "cars", spec)
    run(cluster, mlflow, CrashingWrites(), until="Healthy")


def run(cluster: Cluster, mlflow: OneModel, writes: CrashingWrites, until: str) -> None:
    """Look until the phase is reached and a look writes nothing more; a crash begins with a new controller."""
    deadline = time.monotonic() + _SECONDS
    while True:
        with controller(cluster.namespace, mlflow, writes) as look:
            try:
                while True:
                    assert time.monotonic() < deadline, (cluster.status(), writes.done)
                    before = len(writes.done)
                    if look() == until and len(writes.done) == before:
                        return
            except Crash:
                continue


def final_state(cluster: Cluster) -> dict[str, Any]:
    """Return all that a rollout leaves behind."""
    status, service = cluster.status(), cluster.get(SERVICES, "cars")
    assert service is not None
    return {
        "phase": status["phase"],
        "stable": status["stableRevision"],
        "attempts": status["attempts"],
        "rejected": [(one["revision"], one["reason"]) for one in status["rejectedRevisions"]],
        "weights": cluster.weights(),
        "service": service["spec"]["selector"],
        "pods": cluster.inference_services(),
        "outcomes": {one["metadata"]["name"]: one["status"]["outcome"] for one in cluster.list(MODEL_REVISIONS)},
        "actions": [one["status"] for one in cluster.list(ROLLOUT_ACTIONS)],
    }


@pytest.fixture(scope="module")
def expected(kubeconfig: str) -> tuple[dict[str, Any], list[str]]:  # noqa: ARG001
    """What a rollout and an undo that nothing disturbs leave behind, and the writes that it takes."""
    cluster, mlflow = Cluster(f"e{time.monotonic_ns() % 10**10}"), OneModel()
    cluster.install()
    cluster.make_namespace()
    start(cluster, mlflow)
    writes = CrashingWrites()
    transition(cluster, mlflow, writes)
    state = final_state(cluster)
    cluster.remove()
    return state, writes.done


def transition(cluster: Cluster, mlflow: OneModel, writes: CrashingWrites) -> None:
    """Roll a second version out, and undo it."""
    mlflow.version = "20260102000000"
    first = cluster.status()["stableRevision"]
    deadline = time.monotonic() + _SECONDS
    while cluster.status()["stableRevision"] == first:
        assert time.monotonic() < deadline
        run_until_crash(cluster, mlflow, writes)
    cluster.act("Undo")
    run(cluster, mlflow, writes, until="Rejected")


def run_until_crash(cluster: Cluster, mlflow: OneModel, writes: CrashingWrites) -> None:
    """Look for as long as the first revision is the stable one, or until a crash."""
    first = cluster.status()["stableRevision"]
    with controller(cluster.namespace, mlflow, writes) as look:
        try:
            while cluster.status()["stableRevision"] == first:
                look()
        except Crash:
            return


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_a_write_leaves_the_state_that_no_crash_leaves(
    after: bool, cluster: Cluster, expected: tuple[dict[str, Any], list[str]]
) -> None:
    state, writes = expected
    mlflow = OneModel()
    start(cluster, mlflow)
    crashing = CrashingWrites(len(writes) // 2, after=after)
    transition(cluster, mlflow, crashing)
    assert final_state(cluster) == state
