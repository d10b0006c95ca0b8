from __future__ import annotations

from typing import Any

import pytest

from registry.plugin.outcome import outcome_of
from registry.plugin.output import plain, printed
from registry.plugin.planning import plan_of
from tests.registry.plugin.scenes import NEW, OLD, served_model, time, under_way

WAITING = under_way(0, "Pending") | {"candidateRevision": None, "attempt": None}
REJECTION = {"revision": NEW, "reason": "Aborted", "message": "aborted by alice", "at": time()}
NEWEST = "cars-6a7b8c9d0e"
BACK = under_way(2, "RollingBack")
ABORTED = BACK | {"rejectedRevisions": [REJECTION]}
REPLACED = BACK | {"resolved": BACK["resolved"] | {"revision": NEWEST}}
BAKING = {
    "phase": "Baking",
    "stableRevision": NEW,
    "resolved": BACK["resolved"],
    "previousRevision": OLD,
    "bakingUntil": time(minutes=-4),
}
UNDOING = under_way(0, "Promoting", undo=True, promoted=True) | {
    "stableRevision": NEW,
    "candidateRevision": OLD,
    "rejectedRevisions": [REJECTION],
}


def condition(kind: str, status: str, reason: str = "AliasMissing") -> dict[str, str]:
    """Return a condition."""
    return {"type": kind, "status": status, "reason": reason, "message": "no alias"}


def unresolved(status: str) -> dict[str, Any]:
    """Return what the conditions say of a selector that means nothing, or nobody knows what."""
    return {"conditions": [condition("Resolved", status)]}


@pytest.mark.parametrize(
    ("status", "spec", "acts", "said"),
    [
        ({}, {}, False, f"{OLD} serves already"),
        (WAITING, {}, True, f"{NEW} would be rolled out"),
        (WAITING, {"suspend": True}, False, "were it not for spec.suspend"),
        (WAITING, {"planOnly": True}, False, "were it not for spec.planOnly"),
        (WAITING | {"rejectedRevisions": [REJECTION]}, {}, False, "kubectl telltale retry cars"),
        (under_way(2, weight=10), {}, True, "is being rolled out"),
        (under_way(2, weight=10), {"suspend": True}, False, "is being rolled out, and spec.suspend holds it"),
        (under_way(2, weight=10), {"planOnly": True}, False, "is being rolled out, and spec.planOnly holds it"),
        (BAKING, {}, False, f"{NEW} got everything and is watched: nothing else would be done"),
        (ABORTED, {}, False, f"{NEW} is being taken back; after that: {NEW} is rejected"),
        (ABORTED, {"suspend": True}, False, f"{NEW} is being taken back"),
        (REPLACED, {}, True, f"{NEW} is being taken back; after that: {NEWEST} would be rolled out"),
        (REPLACED, {"suspend": True}, False, "were it not for spec.suspend"),
        (UNDOING, {"suspend": True}, True, f"{OLD} is on its way back"),
        (unresolved("False"), {}, False, "nothing would be done for now: no alias"),
        (WAITING | unresolved("Unknown"), {}, False, "nothing would be done for now: no alias"),
        ({"resolved": None, "message": "no alias"}, {}, False, "nothing is resolved yet: no alias"),
        ({"observedGeneration": 2}, {}, False, "has not looked at the newest spec"),
    ],
)
def test_a_plan_says_whether_anything_would_be_done(
    status: dict[str, Any], spec: dict[str, Any], acts: bool, said: str
) -> None:
    made = plan_of(served_model(status, **spec))
    assert said in made.verdict
    assert made.would_act is acts


def test_the_least_time_is_that_of_pauses_and_shadows_that_are_to_come() -> None:
    made = plan_of(served_model(WAITING))
    assert (made.minimum_seconds, made.baking_seconds, made.waits_for_people) == (900, 300, 2)
    later = plan_of(served_model(under_way(4, weight=10)))
    assert (later.minimum_seconds, later.baking_seconds, later.waits_for_people) == (0, 300, 2)


@pytest.mark.parametrize("status", [ABORTED, UNDOING])
def test_a_way_back_takes_no_steps(status: dict[str, Any]) -> None:
    made = plan_of(served_model(status))
    assert (made.steps, made.minimum_seconds, made.baking_seconds, made.waits_for_people) == ((), 0, 0, 0)


def test_what_comes_after_a_way_back_takes_all_steps() -> None:
    assert {step.state for step in plan_of(served_model(REPLACED)).steps} == {"to come"}


def test_while_it_bakes_the_steps_are_those_of_this_rollout() -> None:
    *others, last = plan_of(served_model(BAKING)).steps
    assert {step.state for step in others} == {"done"}
    assert (last.kind, last.state) == ("bake", "current")


def test_another_version_that_is_held_back_while_it_bakes_would_take_all_steps() -> None:
    made = plan_of(served_model(BAKING | {"resolved": BACK["resolved"] | {"revision": NEWEST}}, suspend=True))
    assert made.verdict == f"{NEWEST} would be rolled out, were it not for spec.suspend"
    assert {step.state for step in made.steps} == {"to come"}


def test_a_first_revision_takes_no_shadow_and_is_not_watched() -> None:
    made = plan_of(served_model(WAITING | {"stableRevision": None}))
    assert (made.minimum_seconds, made.baking_seconds) == (600, 0)


def test_the_controllers_own_plan_is_passed_on() -> None:
    assert plan_of(served_model(WAITING | {"plan": ["create it"]}, planOnly=True)).controller_says == ("create it",)


@pytest.mark.parametrize(
    ("phase", "until", "code"),
    [
        ("Healthy", "healthy", 0),
        ("Healthy", "done", 0),
        ("Baking", "done", 0),
        ("Baking", "healthy", None),
        ("Progressing", "done", None),
        ("Rejected", "healthy", 1),
        ("Rejected", "done", 1),
        ("RollingBack", "done", None),
        ("Healthy", None, None),
    ],
)
def test_a_wait_ends_by_its_outcome(phase: str, until: str | None, code: int | None) -> None:
    assert outcome_of(served_model({"phase": phase}), until) == code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ({"conditions": [condition("Resolved", "False"), condition("Stalled", "True")]}, 1),
        ({"phase": "Baking", "conditions": [condition("Stalled", "True")]}, 1),
        ({"conditions": [condition("Resolved", "Unknown"), condition("Stalled", "True", "InvalidSpec")]}, 1),
        ({"phase": "Rejected", "conditions": [condition("Resolved", "True"), condition("Stalled", "True")]}, 1),
        ({"phase": "Rejected", "conditions": [condition("Resolved", "False")]}, 1),
        ({"conditions": [condition("Resolved", "True"), condition("Stalled", "False")]}, 0),
    ],
)
def test_a_wait_for_what_will_not_come_by_itself_ends_with_1(status: dict[str, Any], code: int) -> None:
    assert outcome_of(served_model(status), "done") == code


@pytest.mark.parametrize("phase", ["Healthy", "Rejected"])
def test_while_mlflow_is_away_a_wait_is_not_decided(phase: str) -> None:
    stalled = condition("Stalled", "True" if phase == "Rejected" else "False", phase)
    conditions = [condition("Resolved", "Unknown", "MlflowUnavailable"), stalled]
    assert outcome_of(served_model({"phase": phase, "conditions": conditions}), "healthy") is None


def test_a_version_that_the_spec_holds_back_is_not_taken_for_the_one_that_serves() -> None:
    held = {"resolved": WAITING["resolved"], "conditions": [condition("Resolved", "True")]}
    assert outcome_of(served_model(held, suspend=True), "healthy") is None


def test_a_status_of_an_older_spec_ends_no_wait() -> None:
    assert outcome_of(served_model({"phase": "Healthy", "observedGeneration": 2}), "healthy") is None


def test_programs_get_the_names_of_kubernetes() -> None:
    document = plain(plan_of(served_model(WAITING)))
    assert document["minimumSeconds"] == 900
    assert document["steps"][2] | {"text": ""} == {
        "kind": "setWeight",
        "text": "",
        "state": "to come",
        "seconds": 0,
        "until": None,
        "ends": "over",
    }
    assert printed({"at": [1, "ü"]}, "yaml") == "at:\n- 1\n- ü"
    assert '"ü"' in printed(["ü"], "json")
