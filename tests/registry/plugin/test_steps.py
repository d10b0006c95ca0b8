from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from registry.plugin.steps import Step, planned, steps_of
from tests.registry.plugin.scenes import NEW, NOW, OLD, STEPS, served_model, time, under_way

SPEC = served_model()["spec"]


def states(status: dict[str, Any]) -> str:
    """Return the states of all steps by their first letters."""
    return "".join(step.state[0] for step in steps_of(SPEC, served_model(status)["status"]))


def current(status: dict[str, Any]) -> Step:
    """Return the step that is being done."""
    return next(step for step in steps_of(SPEC, served_model(status)["status"]) if step.state == "current")


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (under_way(0, "Validating"), "c" + "t" * 9),
        (under_way(0, "Shadowing"), "dc" + "t" * 8),
        (under_way(2, "Paused", weight=10), "dddc" + "t" * 6),
        (under_way(7, "Promoting", weight=100), "d" * 8 + "ct"),
        (under_way(2, "Promoting", weight=100, promoted=True), "ddd" + "s" * 5 + "ct"),
        (under_way(0, "Validating", promoted=True), "c" + "s" * 7 + "tt"),
        ({"phase": "Baking", "stableRevision": NEW, "bakingUntil": time(minutes=-4)}, "d" * 9 + "c"),
    ],
)
def test_steps_are_done_being_done_skipped_or_to_come(status: dict[str, Any], wanted: str) -> None:
    assert states(status) == wanted


@pytest.mark.parametrize(
    "status",
    [{}, under_way(0, "Promoting", undo=True, promoted=True), under_way(1, "RollingBack"), {"phase": "Rejected"}],
)
def test_at_rest_and_on_the_way_back_there_are_no_steps(status: dict[str, Any]) -> None:
    assert states(status) == ""


def test_a_pause_ends_and_a_gate_is_given_up_when_the_controller_says_so() -> None:
    pause = current(under_way(2, "Paused", weight=10))
    assert (pause.kind, pause.until, pause.ends) == ("pause", NOW + timedelta(minutes=8), "over")
    gate = current(under_way(3, weight=10, waitsSince=time(minutes=2)))
    assert (gate.kind, gate.until, gate.ends) == ("gate", NOW + timedelta(minutes=13), "given up")


@pytest.mark.parametrize("step", [5, 6])
def test_what_waits_for_a_person_has_no_end(step: int) -> None:
    assert current(under_way(step, weight=50)).until is None


def test_while_a_source_is_away_nothing_is_given_up() -> None:
    away = under_way(3, weight=10, waitsSince=time(minutes=2), unavailableSince=time(minutes=1))
    assert current(away).until is None


def test_no_clock_runs_while_somebody_holds_the_rollout_or_it_is_frozen() -> None:
    held = under_way(2, "Paused", weight=10) | {"paused": {"at": time(), "by": "alice"}}
    assert current(held).until is None
    assert current(under_way(4, "Frozen", weight=10)).until is None


def test_a_shadow_step_runs_from_when_it_had_what_it_needs() -> None:
    shadow = current(under_way(0, "Shadowing", shadowPercent=100, readyAt=time(minutes=1)))
    assert shadow.until == NOW + timedelta(minutes=4)


def test_every_kind_of_step_says_what_it_does() -> None:
    more = [*STEPS, {"match": {"header": "x-canary", "value": "yes"}}, {"gate": {}}, {"unheard-of": {}}]
    texts = [step.text for step in planned(SPEC | {"rollout": {"steps": more}}, has_stable=True)]
    assert texts == [
        "pods ready, same features, offline gates flags",
        "copy 100 % of the requests for 5 min",
        "10 % of the requests",
        "pause 10 min",
        "gates errors",
        "50 % of the requests",
        "pause until somebody resumes",
        "somebody's approval",
        "requests with x-canary: yes",
        "all online gates",
        "unheard-of",
        "100 % of the requests",
        "watched for 5 min, and back by itself if gates fail",
    ]


def test_the_first_revision_of_all_gets_everything_at_once_and_is_not_watched() -> None:
    steps = planned(SPEC, has_stable=False)
    assert "at once" in steps[2].text
    assert "passed over" in steps[1].text
    assert steps[-1].kind == "promote"
    assert OLD not in str(steps)
