"""From a version that serves everything back to the former one: by a person, and by a gate that fails while baking."""

from __future__ import annotations

import time

from tests.cluster.registry.conftest import Serve
from tests.cluster.registry.served import Served

# An undo while the former revision is warm: created to written, and created to the last answer of what was undone.
WRITTEN_SECONDS = 1.0
LAST_ANSWER_SECONDS = 2.0


def test_an_undo_under_load_is_over_within_seconds_and_no_request_fails(
    serve: Serve, versions: tuple[str, str]
) -> None:
    former, newer = versions
    cars, first, second = served_twice(serve("undo"), former, newer)
    with cars.loaded() as load:
        cars.wait_for(lambda: len(load.answers) > 300, "answers")
        began = time.monotonic()
        cars.create_action("Undo", user="alice", reason="the drivers complain")
        created = time.monotonic()
        cars.wait_for(lambda: cars.weights() == {first: 100}, "the way back")
        written = time.monotonic()
        status = cars.wait_for_phase("Rejected")
        rejected = time.monotonic()
        answered = len(load.answers)
        cars.wait_for(lambda: len(load.answers) > answered + 300, "answers after that")
    last = load.last_by(newer)
    print(  # noqa: T201 - shown by -s
        f"undo: created in {created - began:.3f} s, the HTTPRoute written {written - created:.3f} s after that,"
        f" the last undone answer after {last - created:.3f} s, Rejected after {rejected - created:.3f} s"
    )
    assert load.failures == []
    assert written - created < WRITTEN_SECONDS
    assert last - created < LAST_ANSWER_SECONDS
    assert load.versions_since(rejected) == {former}
    assert status["stableRevision"] == first
    rejection = status["rejectedRevisions"][0]
    assert (rejection["revision"], rejection["by"], rejection["served"]) == (second, "alice", True)


def test_a_gate_that_fails_while_baking_brings_the_former_version_back_by_itself(
    serve: Serve, versions: tuple[str, str], alarming: str
) -> None:
    """A version that calls nearly everything anomalous; its own holdout looked well."""
    former = versions[0]
    cars = serve("baking")
    cars.follow(former)
    rollback = {"autoWindowSeconds": 60, "keepWarmSeconds": 120}
    cars.create(rollout={"steps": []}, gates=cars.gates(flags=200), rollback=rollback)
    first = cars.wait_for_phase("Healthy", of=former)["stableRevision"]
    with cars.loaded() as load:
        cars.follow(alarming)
        second = cars.wait_for_phase("Baking", of=alarming)["stableRevision"]
        baking = time.monotonic()
        status = cars.wait_for_phase("Rejected")
        rejected = time.monotonic()
        answered = len(load.answers)
        cars.wait_for(lambda: len(load.answers) > answered + 300, "answers after that")
    print(f"baking: rolled back after {rejected - baking:.1f} s")  # noqa: T201 - shown by -s
    assert load.failures == []
    assert load.versions_since(rejected) == {former}
    assert (status["stableRevision"], cars.weights()) == (first, {first: 100})
    rejection = status["rejectedRevisions"][0]
    assert (rejection["revision"], rejection["reason"], rejection["served"]) == (second, "GateFailed", True)
    assert "by" not in rejection
    assert "failed while baking: gate flags: the query is" in rejection["message"]


def served_twice(cars: Served, former: str, newer: str) -> tuple[Served, str, str]:
    """Serve a version and then another one; return the revisions."""
    cars.follow(former)
    cars.create(rollout={"steps": []}, gates=[])
    first = cars.wait_for_phase("Healthy", of=former)["stableRevision"]
    cars.follow(newer)
    return cars, first, cars.wait_for_phase("Healthy", of=newer)["stableRevision"]
