from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from registry.api.status import ServedModelStatus
from registry.kubernetes.resources import MODEL_REVISIONS
from registry.plugin.overview import Pods, overview, selector_of, weights
from registry.plugin.watching import Resources
from registry.rollout.manifests import weights as weights_of_controller
from tests.registry.plugin.scenes import GATES, NEW, NOW, OLD, action, resources, seen, served_model, time, under_way


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"stableRevision": OLD},
        {"stableRevision": OLD, "candidateRevision": NEW},
        *({"stableRevision": OLD} | under_way(1, weight=weight) for weight in (0, 10, 100)),
        *(under_way(1, weight=weight) for weight in (0, 100)),
    ],
)
def test_weights_are_those_that_the_controller_writes(status: dict[str, Any]) -> None:
    assert weights(status) == weights_of_controller(ServedModelStatus.model_validate(status))


def test_each_revision_with_pods_is_shown_with_what_it_is_and_gets() -> None:
    found = seen(under_way(2, "Paused", weight=10, match={"header": "x-canary", "value": "yes"}))
    stable, candidate = found.revision("stable"), found.revision("candidate")
    assert stable is not None
    assert candidate is not None
    assert (stable.name, stable.version, stable.mlflow_version, stable.weight) == (OLD, "20260305000000", "7", 90)
    assert (candidate.weight, candidate.pods, candidate.header) == (10, Pods(1, 2), "x-canary: yes")
    assert found.under_way


def test_what_may_not_be_read_is_left_open() -> None:
    found = overview(served_model(), Resources())
    stable = found.revision("stable")
    assert stable is not None
    assert (stable.name, stable.version, stable.pods) == (OLD, "", None)


def test_a_model_that_no_controller_has_looked_at_is_pending() -> None:
    new = served_model()
    new["status"] = {}
    found = overview(new, Resources())
    assert (found.phase, found.is_up_to_date, found.revisions, found.steps) == ("Pending", False, (), ())


def test_a_former_revision_is_kept_warm_until_a_time() -> None:
    found = seen({"previousRevision": NEW, "warmUntil": time(minutes=-12)}).revision("previous")
    assert found is not None
    assert found.warm_until == NOW + timedelta(minutes=12)


def judged(*found: tuple[str, str, str]) -> dict[str, Any]:
    """Return a status that says so much of each gate: name, state, message."""
    since = "2026-03-02T09:57:00.000000Z"
    gates = [{"name": name, "state": state, "message": message, "since": since} for name, state, message in found]
    return under_way(3, weight=10) | {"gates": gates}


def gate_verdicts(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return each gate's verdict and message."""
    return [(gate.verdict, gate.message) for gate in seen(status).gates]


def test_a_gate_that_nobody_asked_yet_has_no_verdict() -> None:
    assert gate_verdicts(under_way(0, "Validating")) == [("unknown", ""), ("unknown", "")]
    one = judged(("flags", "Passed", "gate flags: holdout_flag_rate is 0.05"))
    assert gate_verdicts(one) == [("passed", "holdout_flag_rate is 0.05"), ("unknown", "")]


@pytest.mark.parametrize(
    ("state", "message", "verdict"),
    [
        ("Passed", "gate errors: the query is 0.001", ("passed", "the query is 0.001")),
        ("Failed", "gate errors: the query is 0.03", ("failed", "the query is 0.03")),
        ("NoData", "gate errors has 12 of 500 samples", ("waiting", "has 12 of 500 samples")),
        ("Unavailable", "gate errors: Prometheus does not answer", ("waiting", "Prometheus does not answer")),
        ("Undreamt", "", ("unknown", "")),
    ],
)
def test_a_gate_says_what_it_came_to_and_why(state: str, message: str, verdict: tuple[str, str]) -> None:
    assert gate_verdicts(judged(("errors", state, message)))[1] == verdict


def test_only_conditions_that_are_not_as_they_should_be_are_problems() -> None:
    conditions = [
        {"type": "Ready", "status": "True", "reason": "Serving", "message": ""},
        {"type": "Degraded", "status": "False", "reason": "AsExpected", "message": ""},
        {"type": "Progressing", "status": "False", "reason": "Healthy", "message": ""},
        {"type": "Reconciling", "status": "False", "reason": "Healthy", "message": "it serves"},
        {"type": "Stalled", "status": "False", "reason": "AsExpected", "message": "nothing is in the way"},
        {"type": "GatesPassed", "status": "Unknown", "reason": "Validating", "message": ""},
        {"type": "Resolved", "status": "Unknown", "reason": "MlflowUnavailable", "message": "refused"},
        {"type": "Degraded", "status": "True", "reason": "InvalidSpec", "message": "no such time zone"},
    ]
    assert [problem.reason for problem in seen({"conditions": conditions}).problems] == [
        "MlflowUnavailable",
        "InvalidSpec",
    ]


def test_the_newest_actions_come_first_and_old_ones_are_left_out() -> None:
    actions = tuple(action("Pause", f"user{minute}", minute) for minute in (9, 1, 5, 7, 3, 11))
    assert [one.by for one in seen(actions=actions).actions] == ["user1", "user3", "user5", "user7", "user9"]


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({"alias": "champion"}, "@champion"),
        ({"version": "20260101000000"}, "version 20260101000000"),
        ({"tag": "fleet=eu"}, "tag fleet=eu"),
        ({"runId": "ab"}, "run ab"),
        ({}, ""),
    ],
)
def test_a_selector_is_written_as_one_says_it(model: dict[str, str], text: str) -> None:
    assert selector_of(model) == text


def test_phases_and_fields_of_a_newer_controller_are_shown_as_they_are() -> None:
    found = seen({"phase": "Teleporting", "later": {}}, gates=[*GATES, {"name": "new", "later": {}}])
    assert found.phase == "Teleporting"
    assert found.gates[-1].verdict == "unknown"


def test_objects_of_another_kind_are_none() -> None:
    assert resources().of(MODEL_REVISIONS)
    assert Resources().served_model is None
