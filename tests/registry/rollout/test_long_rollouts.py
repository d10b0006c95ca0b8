"""Rollouts that take hours or days: what holds them, what ends them, and what they look at again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from registry.api.served_model import FreezeWindow
from registry.rollout.freeze import fault, frozen_until
from registry.rollout.gates import judge
from registry.rollout.snapshot import Measurement, Traffic
from tests.registry.rollout.world import World, serving, spec

ERRORS: dict[str, Any] = {"name": "errors", "prometheus": {"query": "e", "max": 0.01}}
HOUR = 3600.0


def waiting_for_approval(**more: Any) -> World:
    """Return a world in which a candidate with 10 % has waited for an hour."""
    world = serving(1, {"setWeight": 10}, {"approval": {}}, **more)
    world.move_alias(2)
    world.wait(HOUR)
    assert world.phase == "AwaitingApproval"
    return world


def test_a_gateway_that_falters_after_an_hours_approval_has_its_whole_deadline() -> None:
    world = waiting_for_approval(deadline=600)
    world.traffic = Traffic(in_sync=False, message="the HTTPRoute is not as it should be")
    world.wait(500)
    assert world.weights == {"fleet-1": 90, "fleet-2": 10}
    world.traffic = Traffic()
    world.wait(HOUR)
    assert world.phase == "AwaitingApproval"
    world.traffic = Traffic(in_sync=False)
    world.wait(700)
    assert world.status.rejected_revisions[0].reason == "DeadlineExceeded"


def test_a_modelrevision_that_is_deleted_after_an_hours_approval_is_made_again() -> None:
    world = waiting_for_approval()
    del world.revisions["fleet-2"]
    world.wait(60)
    assert world.phase == "AwaitingApproval"


def test_a_candidate_that_loses_its_pods_gives_its_requests_back_and_gets_them_again_with_new_pods() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {"durationSeconds": 60}}, {"setWeight": 50}, {"pause": {}})
    world.move_alias(2)
    world.wait(HOUR)
    assert world.weights == {"fleet-1": 50, "fleet-2": 50}
    world.ready = False
    world.revisions["fleet-2"] = replace(world.revisions["fleet-2"], ready=False)
    world.step()
    assert world.weights == {"fleet-1": 50, "fleet-2": 50}, "its Deployment is being changed, and pods are there"
    world.revisions["fleet-2"] = replace(world.revisions["fleet-2"], ready=False, lost=True)
    world.wait(30)
    assert world.weights == {"fleet-1": 100}
    assert world.status.candidate_revision == "fleet-2"
    assert "GaveBack" in [event.reason for event in world.events]
    world.ready = True
    world.wait(30)
    assert world.weights == {"fleet-1": 50, "fleet-2": 50}, "its last weight is given again, and not all of its steps"


def test_a_candidate_keeps_its_requests_where_nothing_else_is_ready_either() -> None:
    world = waiting_for_approval()
    for name in ("fleet-1", "fleet-2"):
        world.revisions[name] = replace(world.revisions[name], ready=False)
    world.ready = False
    world.wait(60)
    assert world.weights == {"fleet-1": 90, "fleet-2": 10}


@pytest.mark.parametrize("held", ["Pause", "suspend"])
def test_no_deadline_runs_while_people_hold_a_rollout(held: str) -> None:
    world = serving(1, {"setWeight": 10}, {"gate": {}}, gates=[ERRORS], deadline=120)
    world.measurements = {}
    world.move_alias(2)
    world.wait(60)
    before = world.spec
    if held == "Pause":
        world.act("Pause")
    else:
        world.spec = world.spec.model_copy(update={"suspend": True})
    world.wait(HOUR)
    world.spec = before
    if held == "Pause":
        world.act("Resume")
    world.wait(100)
    assert world.weights == {"fleet-1": 90, "fleet-2": 10}
    world.wait(60)
    assert world.status.rejected_revisions[0].reason == "DeadlineExceeded"


def test_a_pause_is_as_long_as_it_is_to_be_although_mlflow_was_away_in_it() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {"durationSeconds": 600}})
    world.move_alias(2)
    world.wait(60)
    known = world.resolution
    world.lose_mlflow()
    world.wait(10)
    world.resolution = known
    world.wait(470)
    world.traffic = Traffic(in_sync=False)
    world.wait(5)
    world.traffic = Traffic()
    world.wait(60)
    assert world.weights == {"fleet-2": 100}


def test_a_rollout_that_is_frozen_writes_nothing() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {"durationSeconds": 60}}, {"setWeight": 50})
    world.move_alias(2)
    world.settle()
    world.spec = spec(
        {"setWeight": 10},
        {"pause": {"durationSeconds": 60}},
        {"setWeight": 50},
        freezeWindows=[{"schedule": "0 9 * * *", "durationSeconds": 36000}],
    )
    world.wait(HOUR)
    assert world.phase == "Frozen"
    before = world.status
    for _ in range(10):
        world.now += timedelta(seconds=1)
        world.step()
    assert world.status == before


def test_what_waits_for_a_freeze_window_goes_on_waiting_while_mlflow_is_away() -> None:
    world = serving(1, freezeWindows=[{"schedule": "0 11 * * *", "durationSeconds": 36000}])
    world.move_alias(2)
    world.wait(60)
    assert world.phase == "Frozen"
    world.events.clear()
    known = world.resolution
    world.lose_mlflow()
    world.wait(60)
    world.resolution = known
    world.wait(60)
    assert world.phase == "Frozen"
    assert world.events == []


@pytest.mark.parametrize("schedule", ["30 2 * * *", "0 * * * *"])
def test_a_freeze_window_holds_in_the_hour_that_comes_twice(schedule: str) -> None:
    """Berlin's clocks go back from 3:00 to 2:00 at 01:00 UTC."""
    window = FreezeWindow(schedule=schedule, duration_seconds=3600, time_zone="Europe/Berlin")
    for minute in range(30, 90):
        now = datetime(2026, 10, 25, 0, 0, tzinfo=UTC) + timedelta(minutes=minute)
        assert frozen_until([window], now) is not None, now
    assert (
        frozen_until([window], datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
        == {
            "30 2 * * *": None,
            "0 * * * *": datetime(2026, 10, 25, 2, 0, tzinfo=UTC),
        }[schedule]
    )


def test_a_folder_of_time_zones_is_no_time_zone() -> None:
    window = FreezeWindow(schedule="0 1 * * *", duration_seconds=3600, time_zone="Europe")
    assert "no time zone 'Europe'" in (fault(window) or "")


def test_nothing_is_judged_compatible_with_a_stable_revision_whose_record_is_gone() -> None:
    world = serving(1, deadline=600)
    del world.revisions["fleet-1"]
    world.move_alias(2, features=("other",))
    world.wait(300)
    assert world.weights == {"fleet-1": 100}
    assert "the ModelRevision fleet-1 was deleted" in world.status.message


def test_a_gate_that_compares_with_the_stable_revision_is_skipped_by_the_first() -> None:
    query = 'rate(e{r="{candidate}"}[5m]) / rate(e{r="{stable}"}[5m])'
    gates = [{"name": "errors", "prometheus": {"query": query, "max": 1.2}}]
    world = World(spec({"setWeight": 10}, {"gate": {}}, gates=gates, deadline=120))
    world.measurements = {"errors": Measurement()}
    world.move_alias(1)
    world.wait(60)
    assert (world.phase, world.weights) == ("Healthy", {"fleet-1": 100})


@pytest.mark.parametrize(
    ("limits", "value", "state"),
    [
        ({"min": 0.9}, float("inf"), "NoData"),
        ({"max": 0.9}, float("-inf"), "NoData"),
        ({"max": 0.9}, float("inf"), "Failed"),
        ({"min": 0.9}, 1.0, "Passed"),
    ],
)
def test_no_gate_passes_by_a_division_by_nothing(limits: dict[str, float], value: float, state: str) -> None:
    gate = spec(gates=[{"name": "errors", "prometheus": {"query": "a/b", **limits}}]).gates[0]
    assert judge(gate, Measurement(value=value), has_stable=True).state == state


def test_a_gate_is_not_judged_before_it_was_asked() -> None:
    world = serving(1, {"setWeight": 10}, {"gate": {}}, gates=[ERRORS], bake=300)
    world.measurements = {}
    world.move_alias(2)
    states = []
    for _ in range(12):
        intent = world.step()
        states += [gate.state for gate in world.status.gates]
        # As the gatherer does: it asks where the status says that a gate is to be judged.
        world.measurements = (
            {"errors": Measurement(value=0.0)}
            if intent.status.attempt is None or (intent.status.attempt.step == 1)
            else {}
        )
    assert world.phase == "Baking"
    assert set(states) == {"Passed"}


def test_conditions_tell_of_a_gate_without_data_and_of_an_approval_that_somebody_holds() -> None:
    world = serving(1, {"setWeight": 10}, {"gate": {}}, {"approval": {}}, gates=[ERRORS])
    world.measurements["errors"] = Measurement()
    world.move_alias(2)
    world.wait(30)
    assert world.condition("GatesPassed") == ("Unknown", "NoData")
    world.measurements["errors"] = Measurement(value=0.0)
    world.wait(30)
    assert world.condition("GatesPassed") == ("True", "GatesPassed")
    world.act("Pause")
    world.wait(5)
    assert world.phase == "Paused"
    assert world.condition("Approved") == ("False", "AwaitingApproval")


def test_a_shadow_or_a_header_that_somebody_takes_out_of_the_spec_ends() -> None:
    header = {"match": {"header": "x-canary", "value": "yes"}}
    world = serving(1, header, {"shadow": {"percent": 100, "durationSeconds": 60}}, {"approval": {}})
    world.move_alias(2)
    world.wait(5)
    assert world.status.attempt is not None
    assert (world.status.attempt.shadow_percent, world.status.attempt.match is None) == (100, False)
    world.spec = spec({"approval": {}}, {"approval": {}})
    world.wait(5)
    assert world.phase == "AwaitingApproval"
    assert (world.status.attempt.shadow_percent, world.status.attempt.match) == (0, None)


def test_a_plan_tells_what_would_be_refused_and_what_would_be_waited_for() -> None:
    world = serving(1)
    world.spec = spec(planOnly=True, freezeWindows=[{"schedule": "0 11 * * *", "durationSeconds": 36000}])
    world.move_alias(2)
    world.settle()
    assert world.status.plan[0].startswith("wait until 2026-03-02 21:00 UTC")
    world.move_alias(3, features=("other",))
    world.settle()
    assert world.status.plan == ["fleet-3 would be rejected: it takes other; clients send speed, rpm"]


def test_no_message_names_a_revision_twice() -> None:
    world = World(spec(deadline=60), ready=False)
    world.move_alias(1)
    world.wait(120)
    assert world.status.message == "fleet-1 waits for its pods to be ready, longer than the deadline; nothing serves"


def test_a_watch_that_ended_while_nobody_looked_is_over_at_the_next_look() -> None:
    world = serving(1, bake=300, gates=[ERRORS])
    world.move_alias(2)
    world.wait(30)
    assert world.phase == "Baking"
    world.now += timedelta(seconds=HOUR)
    world.settle()
    assert (world.phase, world.status.baking_until) == ("Healthy", None)
    assert [gate.state for gate in world.status.gates] == ["Passed"], "nobody asked, so nothing is known anew"
