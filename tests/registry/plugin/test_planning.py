from __future__ import annotations

from typing import Any

import pytest

from registry.plugin.outcome import outcome_of
from registry.plugin.output import plain, printed
from registry.plugin.planning import plan_of
from tests.registry.plugin.scenes import NEW, OLD, served_model, time, under_way

WAITING = under_way(0, "Pending") | {"candidateRevision": None, "attempt": None}
REJECTION = {"revision": NEW, "reason": "Aborted", "message": "aborted by alice", "at": time()}


@pytest.mark.parametrize(
    ("status", "spec", "acts", "said"),
    [
        ({}, {}, False, f"{OLD} serves already"),
        (WAITING, {}, True, f"{NEW} would be rolled out"),
        (WAITING, {"suspend": True}, False, "were it not for spec.suspend"),
        (WAITING, {"planOnly": True}, False, "were it not for spec.planOnly"),
        (WAITING | {"rejectedRevisions": [REJECTION]}, {}, False, "kubectl telltale retry cars"),
        (under_way(2, weight=10), {}, True, "is being rolled out"),
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
