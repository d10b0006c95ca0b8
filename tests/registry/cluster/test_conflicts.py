"""Several at once: two controllers that both believe they lead, people who want different things, a new beginning."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.kubernetes.resources import (
    GRPC_ROUTES,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    SERVICES,
    Manifest,
)
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.in_process import CrashingWrites, Hand, OneModel, controller, hand
from tests.waiting import wait_for

OPEN: tuple[Manifest, ...] = ({"setWeight": 10}, {"pause": {}}, {"setWeight": 50})
OWNED = (MODEL_REVISIONS, INFERENCE_SERVICES, SERVICES, HTTP_ROUTES, GRPC_ROUTES)


@pytest.fixture
def driven(cluster: Cluster) -> Iterator[Hand]:
    """A controller."""
    with hand(cluster) as found:
        yield found


def outcomes(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """Return what came of the actions, by who asked for them."""
    found = {one["spec"]["requestedBy"]: one.get("status", {}) for one in cluster.list(ROLLOUT_ACTIONS)}
    return {who: (status.get("state", ""), status.get("message", "")) for who, status in found.items()}


def test_two_controllers_that_both_believe_they_lead_end_where_one_would(cluster: Cluster) -> None:
    mlflow = OneModel()
    with hand(cluster, mlflow) as driven:
        first = driven.serve({"setWeight": 10}, {"pause": {"durationSeconds": 1}}, {"setWeight": 50})
    driven.move_alias()
    seen: list[dict[str, int]] = []

    def rival(number: int, until: str) -> None:
        """Look as if nobody else did."""
        with controller(cluster.namespace, mlflow, CrashingWrites(), identity=f"rival-{number}") as look:
            deadline = time.monotonic() + 60
            while look() != until or cluster.status()["attempts"] < 2:
                assert time.monotonic() < deadline, cluster.status()

    def both(until: str) -> None:
        with ThreadPoolExecutor(2) as executor:
            playing = [executor.submit(rival, number, until) for number in range(2)]
            while not all(one.done() for one in playing):
                weights = cluster.weights()
                if not seen or seen[-1] != weights:
                    seen.append(weights)
            for one in playing:
                one.result()

    both("Healthy")
    second = cluster.status()["stableRevision"]
    assert seen == [{first: 100}, {first: 90, second: 10}, {first: 50, second: 50}, {second: 100}]
    cluster.act("Undo")
    both("Rejected")
    status = cluster.status()
    assert (status["stableRevision"], status["attempts"]) == (first, 2)
    assert cluster.weights() == {first: 100}
    assert len(status["processedActions"]) == 1
    assert outcomes(cluster)["alice"][0] == "Applied"
    with hand(cluster, mlflow) as after:
        after.rest("Rejected")
        assert after.writes.done == [], "nothing is left to write"


def test_an_abort_beats_a_promote_of_the_same_moment_whichever_came_first(driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve(*OPEN)
    driven.move_alias()
    second = driven.rest("Paused")["candidateRevision"]
    cluster.act("Promote", requestedBy="bob")
    cluster.act("Abort", requestedBy="carol")
    assert driven.rest("Rejected")["stableRevision"] == first
    assert cluster.weights() == {first: 100}
    assert outcomes(cluster) == {
        "bob": ("Ignored", "no rollout is under way that could be promoted"),
        "carol": ("Applied", f"aborted the rollout of {second}"),
    }


def test_of_two_undos_of_the_same_moment_one_goes_back_and_the_other_finds_nothing(driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve()
    driven.move_alias()
    driven.rest("Healthy")
    cluster.act("Undo", requestedBy="bob")
    cluster.act("Undo", requestedBy="carol")
    assert driven.rest("Rejected")["stableRevision"] == first
    found = outcomes(cluster)
    assert sorted(state for state, _ in found.values()) == ["Applied", "Ignored"]
    assert cluster.weights() == {first: 100}


def test_an_undo_and_an_edit_of_the_spec_at_the_same_moment_both_happen(driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve(*OPEN)
    driven.move_alias()
    driven.rest("Paused")
    cluster.act("Promote", requestedBy="bob")
    second = driven.rest("Healthy")["stableRevision"]
    cluster.act("Undo", requestedBy="carol")
    cluster.patch(SERVED_MODELS, "cars", {"spec": {"predictor": {"env": {"TELLTALE_LOG_LEVEL": "debug"}}}})
    status = driven.rest("Paused")
    third = status["candidateRevision"]
    assert (status["stableRevision"], third in (first, second)) == (first, False)
    assert cluster.weights() == {first: 90, third: 10}, "what was undone stays undone; what the edit makes takes steps"
    assert [one["revision"] for one in status["rejectedRevisions"]] in ([], [second])


def test_a_spec_that_is_applied_again_at_every_step_changes_nothing(driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve({"setWeight": 10}, {"pause": {"durationSeconds": 1}})
    spec = cluster.get(SERVED_MODELS, "cars")
    assert spec is not None
    generation, seen, phases = spec["metadata"]["generation"], list[dict[str, int]](), set[str]()
    driven.move_alias()

    def is_promoted() -> bool:
        cluster.patch(SERVED_MODELS, "cars", {"spec": spec["spec"]})
        status, weights = cluster.status(), cluster.weights()
        phases.add(status["phase"])
        if not seen or seen[-1] != weights:
            seen.append(weights)
        return bool(status["phase"] == "Healthy" and status["stableRevision"] != first)

    driven.look_until(is_promoted, "the promotion")
    second = cluster.status()["stableRevision"]
    assert seen == [{first: 100}, {first: 90, second: 10}, {second: 100}]
    assert {"Validating", "Paused"} <= phases
    after = cluster.get(SERVED_MODELS, "cars")
    assert after is not None
    assert (after["metadata"]["generation"], after["status"]["attempts"]) == (generation, 2)


def test_steps_that_are_edited_while_they_are_done_hold_from_the_step_under_way_on(driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve(*OPEN)
    driven.move_alias()
    second = driven.rest("Paused")["candidateRevision"]
    steps = [{"setWeight": 10}, {"pause": {}}, {"setWeight": 70}, {"pause": {}}]
    cluster.patch(SERVED_MODELS, "cars", {"spec": {"rollout": {"steps": steps}}})
    driven.rest("Paused")
    assert cluster.weights() == {first: 90, second: 10}
    cluster.act("Resume")
    driven.look_until(lambda: cluster.weights() == {first: 30, second: 70}, "the new weight")
    # Fewer steps than were done already: nothing is left to do but the promotion.
    cluster.patch(SERVED_MODELS, "cars", {"spec": {"rollout": {"steps": []}}})
    assert driven.rest("Healthy")["stableRevision"] == second
    assert cluster.status()["attempts"] == 2


def test_a_served_model_that_is_deleted_in_a_rollout_and_made_anew_at_once_begins_anew(driven: Hand) -> None:
    cluster = driven.cluster
    driven.serve(*OPEN)
    driven.move_alias()
    driven.rest("Paused")
    former = cluster.get(SERVED_MODELS, "cars")
    assert former is not None
    late = cluster.act("Abort", requestedBy="bob")
    cluster.delete(SERVED_MODELS, "cars")
    driven.create()
    made = cluster.get(SERVED_MODELS, "cars")
    assert made is not None
    uid = made["metadata"]["uid"]
    assert uid != former["metadata"]["uid"]
    reasons: set[tuple[str, str]] = set()

    def is_healthy() -> bool:
        reasons.add(driven.conditions().get("TrafficInSync", ("", "", ""))[:2])
        return bool(cluster.status().get("phase") == "Healthy")

    driven.look_until(is_healthy, "the new one")
    status = driven.rest("Healthy")
    assert (status["attempts"], status["resolved"]["version"]) == (1, "20260102000000")
    assert ("False", "NameTaken") not in reasons, "what goes by itself is waited for"
    assert cluster.weights() == {status["stableRevision"]: 100}

    def owners() -> set[str]:
        objects = [one for resource in OWNED for one in cluster.list(resource)]
        found = [owner for one in objects for owner in one["metadata"]["ownerReferences"]]
        return {owner["uid"] for owner in found if owner["kind"] == "ServedModel"}

    wait_for(lambda: owners() == {uid}, "the end of what the former one had")
    found = cluster.get(ROLLOUT_ACTIONS, late["metadata"]["name"])
    assert found is not None
    if late["metadata"]["creationTimestamp"] < made["metadata"]["creationTimestamp"]:
        assert found["status"]["message"] == "it was meant for a former ServedModel of this name"
    else:
        assert found["status"]["state"] in ("Applied", "Ignored"), "times are whole seconds: it may be for this one"
