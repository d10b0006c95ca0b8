"""Rollouts of real versions by real controllers, through a real Gateway, while requests come the whole time."""

from __future__ import annotations

import json
import math
import time

from registry.kubernetes.resources import LEASES
from tests.cluster.cluster import Cluster
from tests.cluster.registry.conftest import Serve
from tests.cluster.registry.fleet import Fleet
from tests.cluster.registry.load import Load, called_by, is_share, scored_by
from tests.cluster.registry.served import Moment

Versions = tuple[str, str]
CANARY = {"x-canary": "yes"}
EVERYBODY = ("score", "v2", "grpc")


def test_a_moved_alias_becomes_a_rollout_by_gates_and_weights_in_which_no_request_fails(
    serve: Serve, fleet: Fleet, versions: Versions
) -> None:
    """From the alias to Healthy by offline and online gates, with the shares that the weights promise."""
    former, newer = versions
    cars = serve("happy")
    cars.follow(former)
    steps = [{"setWeight": 10}, {"gate": {}}, {"setWeight": 50}, {"pause": {"durationSeconds": 4}}, {"gate": {}}]
    cars.create(rollout={"steps": steps}, gates=cars.gates(flags=300))
    with cars.loaded() as load:
        first = cars.wait_for_phase("Healthy", of=former)["stableRevision"]
        assert cars.weights() == {first: 100}
        cars.follow(newer)
        seen = cars.watch_until(lambda status: status["phase"] == "Healthy" and status["stableRevision"] != first)
    status = cars.status
    second = status["stableRevision"]
    assert load.failures == []
    assert cars.weights() == {second: 100}
    phases = list(dict.fromkeys(moment.phase for moment in seen if moment.phase not in ("Promoting", "Paused")))
    assert phases == ["Healthy", "Validating", "Progressing", "Baking"]
    states = {gate["name"]: gate["state"] for gate in status["gates"]}
    assert states == {"holdout": "Passed", "flags": "Passed", "errors": "Passed"}
    assert_shares(load, span(seen, 10, after_step=0), newer, 10)
    assert_shares(load, span(seen, 50, after_step=2), newer, 50)
    baking = next(moment.at for moment in seen if moment.phase == "Baking")
    assert load.versions_since(baking) == {newer}, "the Gateway had followed before the status said so"
    assert cars.condition("TrafficInSync")["status"] == "True"
    assert cars.revisions() == {first, second}, "the former one is kept warm"
    cars.wait_for(lambda: cars.noted_alias() == fleet.number(newer), "the controller's own alias in MLflow")


def span(seen: list[Moment], weight: int, *, after_step: int) -> tuple[float, float]:
    """Return the first and the last time at which the status had a weight, and the step was done that asks for it."""
    times = [moment.at for moment in seen if moment.weight == weight and (moment.step or 0) > after_step]
    assert times, f"{weight} % were never seen"
    return times[0], times[-1]


def assert_shares(load: Load, span: tuple[float, float], version: str, percent: int) -> None:
    """By every protocol the version gave its share of the answers."""
    for protocol in EVERYBODY:
        answers = load.between(*span, protocol)
        part = sum(answer.version == version for answer in answers)
        print(f"{percent} %: {part} of {len(answers)} answers by {protocol}")  # noqa: T201 - shown by -s
        assert len(answers) >= 40
        assert is_share(part, len(answers), percent)


def test_a_header_and_a_shadow_reach_the_candidate_and_an_abort_takes_its_share_away(
    serve: Serve, versions: Versions
) -> None:
    """Those with the header get its answers, the mirrored ones are answered by the former version."""
    former, newer = versions
    cars = serve("canary")
    cars.follow(former)
    cars.create(rollout={"steps": []}, gates=[])
    first = cars.wait_for_phase("Healthy", of=former)["stableRevision"]
    shadow = {"shadow": {"percent": 100, "durationSeconds": 4}}
    ((header, value),) = CANARY.items()
    match = {"match": {"header": header, "value": value}}
    steps = [match, {"pause": {}}, shadow, {"pause": {}}, {"setWeight": 10}, {"pause": {}}]
    cars.patch({"rollout": {"steps": steps}})
    with cars.loaded(**CANARY) as load, cars.rest() as client, cars.stub() as stub:
        began = time.monotonic()
        cars.follow(newer)
        second = cars.wait_for_phase("Paused", of=newer)["candidateRevision"]
        matched = time.monotonic()
        assert {scored_by(client, **{"x-canary": "no"}) for _ in range(20)} == {former}
        assert {called_by(stub, **CANARY) for _ in range(20)} == {newer}

        reading, before = time.monotonic(), cars.scored_by_pods(second)
        cars.act("resume")
        seen = cars.watch_until(lambda status: status["phase"] == "Paused" and status["attempt"]["step"] == 3)
        shadowed = [moment.at for moment in seen if moment.phase == "Shadowing"]
        asked = len(load.between(shadowed[0], shadowed[-1], "score", "v2"))
        answered = len(load.between(reading, math.inf, "canary"))
        mirrored = cars.scored_by_pods(second) - before - answered
        print(f"shadow: {asked} requests while it lasted, {mirrored:.0f} mirrored")  # noqa: T201 - shown by -s
        assert mirrored >= asked * 0.9 > 50
        assert load.versions_since(began, *EVERYBODY) == {former}, "nobody else gets an answer of the candidate"
        assert load.versions_since(matched, "canary") == {newer}

        cars.act("resume")
        cars.wait_for(lambda: cars.weights() == {first: 90, second: 10}, "10 %")
        cars.wait_for(lambda: load.last_by(newer, *EVERYBODY) > began, "an answer of the candidate")
        refused = cars.telltale("abort", user="bob")
        assert (refused.returncode, cars.weights()) == (1, {first: 90, second: 10})
        assert "bob may not create rolloutactions" in refused.stderr
        print(cars.act("abort", "--reason", "too many alarms"))  # noqa: T201 - shown by -s
        cars.wait_for_phase("Rejected")
        rejected = time.monotonic()
        cars.wait_for(lambda: cars.revisions() == {first}, "the end of the candidate's pods")
        answered = len(load.answers)
        cars.wait_for(lambda: len(load.answers) > answered + 300, "answers after that")
    assert load.failures == []
    assert load.versions_since(rejected) == {former}
    rejection = cars.status["rejectedRevisions"][0]
    assert (rejection["revision"], rejection["reason"], rejection["by"]) == (second, "Aborted", "alice")
    cars.wait_for(lambda: cars.noted("why", newer).endswith("(by alice)"), "who did it, in MLflow")


def test_when_the_leading_controller_is_deleted_in_a_rollout_the_other_one_finishes_it(
    serve: Serve, controller: Cluster, versions: Versions
) -> None:
    former, newer = versions
    cars = serve("orphan")
    cars.follow(former)
    cars.create(rollout={"steps": []}, gates=[])
    first = cars.wait_for_phase("Healthy", of=former)["stableRevision"]
    cars.patch({"rollout": {"steps": [{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}]}})
    with cars.loaded() as load:
        cars.follow(newer)
        cars.wait_for_phase("Paused", of=newer)
        leader, replicas = holder(controller), pods(controller)
        controller.kubectl("delete", "pod", leader, "--wait=false")
        said = cars.act("resume")
        status = cars.wait_for_phase("Healthy", of=newer)
        assert holder(controller) in replicas - {leader}
    print(said)  # noqa: T201 - shown by -s
    assert load.failures == []
    assert status["stableRevision"] != first
    assert status["attempts"] == 2, "the first one's, and one that two controllers shared"
    controller.wait_for("Available", "deployment/telltale-registry", within=60)


def holder(controller: Cluster) -> str:
    """Return the pod that leads."""
    lease = controller.get(f"{LEASES.plural}.{LEASES.group}", "telltale-registry")
    return str(lease["spec"]["holderIdentity"])


def pods(controller: Cluster) -> set[str]:
    """Return the replicas."""
    found = json.loads(controller.kubectl("get", "pods", "--output=json"))["items"]
    return {pod["metadata"]["name"] for pod in found}


def test_a_gateway_that_is_not_there_never_gets_in_sync_and_the_condition_says_so(
    serve: Serve, versions: Versions
) -> None:
    cars = serve("nowhere")
    cars.follow(versions[0])
    route = cars.spec["route"] | {"gatewayRef": {"name": "nowhere", "namespace": "gateway"}}
    cars.create(rollout={"steps": [], "progressDeadlineSeconds": 15}, gates=[], route=route)
    cars.wait_for(cars.weights, "the first revision's route")
    cars.wait_for(lambda: cars.condition("TrafficInSync").get("status") == "False", "TrafficInSync=False")
    condition = cars.condition("TrafficInSync")
    assert condition["reason"] == "OutOfSync"
    assert condition["message"] == "the HTTPRoute: the Gateway gateway/nowhere has not taken the route"
    status = cars.wait_for_phase("Rejected")
    assert "stableRevision" not in status
    assert "the Gateway gateway/nowhere has not taken the route, longer than the deadline" in status["message"]
    assert cars.condition("Ready")["status"] == "False"
