"""MLflow and Prometheus away at once: no traffic changes but by people, and afterwards everything goes on.

`TELLTALE_TEST_OUTAGE_SECONDS` says for how long; 600 is the whole of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from registry.kubernetes.resources import SERVED_MODELS, Manifest
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.conftest import Start, spec_of
from tests.registry.cluster.mlflow_process import MlflowProcess, Versions
from tests.registry.prometheus_process import PrometheusProcess
from tests.waiting import wait_for

OUTAGE_SECONDS = float(os.environ.get("TELLTALE_TEST_OUTAGE_SECONDS", "60"))
DEADLINE_SECONDS = 10
ERRORS = {"name": "errors", "prometheus": {"query": "vector(0)", "max": 0.01}}
AT_GATE = {"steps": [{"setWeight": 10}, {"gate": {}}, {"setWeight": 50}], "progressDeadlineSeconds": DEADLINE_SECONDS}
LONG = {"keepWarmSeconds": 86_400, "autoWindowSeconds": 86_400}
# What each is in while the sources are away: at a gate; watched after its promotion; and at rest.
NAMES = ("rolling", "baking", "resting")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusProcess]:
    """A real one, which runs whenever a test of this module ends."""
    server = PrometheusProcess(tmp_path_factory.mktemp("prometheus"))
    server.start()
    yield server
    server.stop()


def condition(cluster: Cluster, kind: str, name: str = "cars") -> tuple[str, str, str]:
    """Return a condition's status, reason and message."""
    found = {one["type"]: one for one in cluster.status(name).get("conditions", ())}.get(kind, {})
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def weights(cluster: Cluster) -> dict[str, dict[str, int]]:
    """Return where requests go."""
    return {name: cluster.weights(name) for name in NAMES}


def serve_all(cluster: Cluster, versions: Versions, model: str) -> dict[str, str]:
    """Create the ServedModels with their first version, and return their revisions."""
    for name in NAMES:
        its_model = f"{model}-{name}"
        versions.alias(its_model, versions.register(its_model, "20260101000000"))
        spec = spec_of(its_model, rollout=AT_GATE, gates=[ERRORS], rollback=LONG)
        cluster.create(SERVED_MODELS, name, spec)
    return {name: str(cluster.wait_for_phase("Healthy", name=name)["stableRevision"]) for name in NAMES}


@pytest.mark.timeout(OUTAGE_SECONDS + 300)
def test_while_mlflow_and_prometheus_are_away_no_traffic_changes_and_an_undo_works_and_then_all_goes_on(
    cluster: Cluster,
    versions: Versions,
    model: str,
    mlflow: MlflowProcess,
    prometheus: PrometheusProcess,
    start_controller: Start,
) -> None:
    controller = start_controller(TELLTALE_PROMETHEUS_URL=prometheus.url)
    first = serve_all(cluster, versions, model)
    for name in ("baking", "resting"):
        versions.alias(f"{model}-{name}", versions.register(f"{model}-{name}", "20260102000000"))
    second = {name: cluster.wait_for_phase("Baking", name=name)["stableRevision"] for name in ("baking", "resting")}
    prometheus.stop()
    versions.alias(f"{model}-rolling", versions.register(f"{model}-rolling", "20260102000000"))
    rolling = wait_for(lambda: at_gate(cluster), "the gate")
    second["rolling"] = rolling["candidateRevision"]
    mlflow.stop()
    for name in NAMES:
        wait_for(lambda name=name: condition(cluster, "Resolved", name)[:2] == ("Unknown", "MlflowUnavailable"), name)
    expected = {
        "rolling": {first["rolling"]: 90, second["rolling"]: 10},
        "baking": {second["baking"]: 100},
        "resting": {second["resting"]: 100},
    }
    began = time.monotonic()
    undone = False
    while time.monotonic() < began + OUTAGE_SECONDS:
        assert weights(cluster) == expected
        if not undone and time.monotonic() > began + OUTAGE_SECONDS / 2:
            cluster.act("Undo", "resting")
            expected["resting"], undone = {first["resting"]: 100}, True
            wait_for(lambda: cluster.weights("resting") == expected["resting"], "the way back", 5)
    assert cluster.status("rolling")["attempt"]["id"] == rolling["attempt"]["id"], "no deadline comes in an outage"
    assert cluster.status("baking")["phase"] == "Baking"
    prometheus.start()
    mlflow.start()
    wait_for(lambda: cluster.status("rolling")["stableRevision"] == second["rolling"], "the end of the rollout", 60)
    for name in NAMES:
        wait_for(lambda name=name: condition(cluster, "Resolved", name)[0] == "True", name)
    assert weights(cluster) == {
        "rolling": {second["rolling"]: 100},
        "baking": {second["baking"]: 100},
        "resting": {first["resting"]: 100},
    }
    assert cluster.status("resting")["phase"] == "Rejected", "the alias still names what was undone"
    assert [line for line in controller.lines() if line["level"] == "error"] == []


def at_gate(cluster: Cluster) -> Manifest | None:
    """Return a status that waits for Prometheus."""
    status = cluster.status("rolling")
    attempt = status.get("attempt") or {}
    return status if attempt.get("step") == 1 and "unavailableSince" in attempt else None


WRONG = {
    "refused": ("sum(", "gate errors: Prometheus refuses the query: "),
    "several": ("prometheus_build_info or up", "gate errors: the query gives 2 values, and one is needed"),
}


def test_a_gate_that_can_have_no_verdict_says_so_and_holds_the_step(
    cluster: Cluster, versions: Versions, model: str, prometheus: PrometheusProcess, start_controller: Start
) -> None:
    start_controller(TELLTALE_PROMETHEUS_URL=prometheus.url, TELLTALE_LEADER_ELECTION="false")
    versions.alias(model, versions.register(model, "20260101000000"))
    rollback = {"keepWarmSeconds": 60, "autoWindowSeconds": 0}
    for name in WRONG:
        cluster.create(SERVED_MODELS, name, spec_of(model, rollout=AT_GATE, gates=[ERRORS], rollback=rollback))
    first = {name: cluster.wait_for_phase("Healthy", name=name)["stableRevision"] for name in WRONG}
    for name, (query, _) in WRONG.items():
        gates = [{"name": "errors", "prometheus": {"query": query, "max": 0.01}}]
        cluster.patch(SERVED_MODELS, name, {"spec": {"gates": gates}})
    versions.alias(model, versions.register(model, "20260102000000"))
    for name, (_, said) in WRONG.items():
        status = wait_for(lambda name=name, said=said: with_message(cluster, name, said), f"{name}: the message")
        assert cluster.weights(name) == {first[name]: 90, status["candidateRevision"]: 10}
        assert said in condition(cluster, "Progressing", name)[2]
        assert [(gate["state"], gate["message"].startswith(said)) for gate in status["gates"]] == [("NoData", True)]


def with_message(cluster: Cluster, name: str, said: str) -> Manifest | None:
    """Return a status that says something."""
    status = cluster.status(name)
    return status if said in status.get("message", "") else None
