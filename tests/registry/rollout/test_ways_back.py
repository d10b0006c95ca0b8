"""Undo, Abort, Retry and Pause where more than one thing happens at once, or a way back is under way already."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from registry.api.rollout_action import Kind
from registry.rollout.snapshot import Measurement, Traffic
from tests.registry.rollout.world import World, serving, spec

ERRORS = {"name": "errors", "prometheus": {"query": "e", "max": 0.01}}
RECALL = {"name": "recall", "mlflow": {"metric": "recall", "min": 0.95}}


def after(*numbers: int, **more: int) -> World:
    """Return a world in which these versions have served one after the other, an hour each."""
    world = serving(numbers[0], **more)
    for number in numbers[1:]:
        world.move_alias(number)
        world.wait(3600)
    return world


def said(world: World) -> list[tuple[str, str]]:
    """Return what came of the actions."""
    return [(outcome.state, outcome.message) for outcome in world.status.action_outcomes]


def test_two_undos_at_once_go_back_once_while_the_former_revision_is_warm() -> None:
    world = after(1, 2, 3)
    world.move_alias(4)
    world.wait(5)
    world.act("Undo", by="alice")
    world.act("Undo", by="bob")
    world.wait(60)
    assert world.weights == {"fleet-3": 100}
    assert said(world) == [
        ("Applied", "goes back to fleet-3"),
        ("Ignored", "it goes back to fleet-3 already"),
    ]


def test_a_second_undo_does_not_stop_the_first_one_whose_pods_still_start() -> None:
    world = after(1, 2, 3, keep=60)
    world.ready = False
    world.act("Undo", by="alice")
    world.settle()
    world.act("Undo", by="bob")
    world.settle()
    world.act("Undo", by="carol", to="fleet-2")
    world.ready = True
    world.wait(60)
    assert world.weights == {"fleet-2": 100}
    assert [state for state, _ in said(world)] == ["Applied", "Ignored", "Ignored"]


def test_an_undo_does_not_stop_the_way_back_that_began_by_itself() -> None:
    world = serving(1, bake=300, gates=[ERRORS], keep=300)
    world.move_alias(2)
    world.settle()
    world.revisions["fleet-1"] = world.revisions["fleet-1"].__class__(
        "fleet-1", world.revisions["fleet-1"].spec, served_until=world.now
    )
    world.ready = False
    world.measurements["errors"] = Measurement(value=0.5)
    world.step()
    assert world.status.attempt is not None
    assert world.status.attempt.undo
    world.act("Undo")
    world.ready = True
    world.wait(60)
    assert world.weights == {"fleet-1": 100}


def test_another_undo_after_one_goes_further_back_and_not_to_what_was_undone() -> None:
    world = after(1, 2, 3, keep=60)
    world.act("Undo")
    world.wait(5)
    assert world.weights == {"fleet-2": 100}
    assert world.status.previous_revision is None
    world.act("Undo")
    world.wait(5)
    assert world.weights == {"fleet-1": 100}


def test_an_undo_passes_over_a_warm_revision_that_a_gate_has_refused_since() -> None:
    world = serving(1)
    world.move_alias(2)
    world.wait(60)
    world.spec = spec(gates=[RECALL])
    world.move_alias(1)
    world.wait(60)
    assert world.status.previous_revision == "fleet-1"
    assert world.phase == "Rejected"
    world.act("Undo")
    world.wait(60)
    assert world.weights == {"fleet-2": 100}
    assert said(world) == [("Ignored", "there is no former revision to go back to")]


def test_an_undo_to_the_stable_revision_ends_the_rollout() -> None:
    world = serving(1, {"setWeight": 50}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.act("Undo", to="fleet-1")
    world.wait(60)
    assert world.weights == {"fleet-1": 100}
    assert world.phase == "Rejected"
    world.act("Undo", to="fleet-1")
    world.settle()
    assert said(world)[-2:] == [("Applied", "went back from fleet-2 to fleet-1"), ("Ignored", "fleet-1 serves already")]


def test_a_retry_that_is_older_than_an_abort_does_not_undo_it() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.act("Retry")
    world.now += timedelta(seconds=5)
    world.act("Abort")
    world.wait(60)
    assert world.phase == "Rejected"
    world.now += timedelta(seconds=5)
    world.act("Retry")
    world.wait(60)
    assert world.phase == "Paused", "it is tried again"


@pytest.mark.parametrize("kind", ["Pause", "Resume", "Approve", "Promote"])
def test_what_is_for_rollouts_does_nothing_to_a_way_back_and_nothing_to_the_next_rollout(kind: Kind) -> None:
    world = after(1, 2, keep=60)
    world.spec = spec({"pause": {"durationSeconds": 60}}, {"approval": {}}, keep=60)
    world.ready = False
    world.act("Undo")
    world.settle()
    world.act(kind)
    world.settle()
    assert said(world)[-1][0] == "Ignored"
    world.ready = True
    world.wait(60)
    world.move_alias(3)
    world.wait(10)
    assert (world.phase, world.status.paused) == ("Paused", None)
    world.wait(60)
    assert world.phase == "AwaitingApproval"


def test_of_more_actions_than_can_be_told_of_none_is_lost_and_none_takes_effect_twice() -> None:
    world = after(1, 2, 3, keep=60)
    world.act("Undo")
    for _ in range(100):
        world.act("Retry")
    while len({result.uid for intent in world.intents for result in intent.results}) < 101:
        world.step()
        settled = {result.uid for intent in world.intents for result in intent.results}
        world.actions = [action for action in world.actions if action.uid not in settled]
    results = [result.uid for intent in world.intents for result in intent.results]
    assert len(results) == len(set(results)) == 101
    assert max(len(intent.results) for intent in world.intents) <= 20


def test_a_way_back_whose_pods_never_come_gives_way_to_another_version_after_the_deadline() -> None:
    world = after(1, 2, 3, keep=60, deadline=600)
    world.ready = False
    world.act("Undo")
    world.wait(60)
    world.move_alias(4)
    world.wait(300)
    assert world.status.candidate_revision == "fleet-2", "what somebody asked for has its time"
    world.wait(600)
    assert world.status.candidate_revision == "fleet-4"
    world.ready = True
    world.wait(60)
    assert world.weights == {"fleet-4": 100}


def test_a_newer_version_waits_until_what_was_promoted_has_been_watched() -> None:
    world = serving(1, bake=300, gates=[ERRORS])
    world.move_alias(2)
    world.wait(30)
    world.move_alias(3)
    world.wait(30)
    assert world.phase == "Baking"
    assert "then fleet-3 is rolled out" in world.status.message
    world.measurements["errors"] = Measurement(value=0.5)
    world.wait(5)
    assert world.weights == {"fleet-1": 100}, "fleet-2 failed, and the way back was open"
    assert world.status.rejected_revisions[0].revision == "fleet-2"


def test_while_mlflow_is_away_a_candidate_that_fails_still_gives_its_requests_back() -> None:
    for broken in ("pods", "gate"):
        world = serving(1, {"setWeight": 50}, {"gate": {}}, gates=[ERRORS])
        world.measurements["errors"] = Measurement()
        world.move_alias(2)
        world.wait(30)
        assert world.weights == {"fleet-1": 50, "fleet-2": 50}
        world.lose_mlflow()
        world.wait(30)
        assert world.weights == {"fleet-1": 50, "fleet-2": 50}
        if broken == "pods":
            world.faults["fleet-2"] = "the predictor has ended 3 times"
        else:
            world.measurements["errors"] = Measurement(value=0.5)
        world.wait(30)
        assert world.weights == {"fleet-1": 100}
        assert world.status.rejected_revisions[0].reason == {"pods": "NotReady", "gate": "GateFailed"}[broken]


def test_while_nothing_else_serves_a_first_revision_is_not_taken_away_for_another() -> None:
    world = World(spec({"setWeight": 10}, {"pause": {"durationSeconds": 3600}}))
    world.move_alias(1)
    world.wait(60)
    assert world.weights == {"fleet-1": 100}
    world.move_alias(2)
    world.ready = False
    world.wait(60)
    assert world.weights == {"fleet-1": 100}
    world.ready = True
    world.wait(60)
    assert world.weights == {"fleet-1": 90, "fleet-2": 10}


def test_a_way_back_is_told_by_its_gateway_and_not_asked_for_each_second() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.act("Abort")
    world.traffic = Traffic(in_sync=False, message="the HTTPRoute: the Gateway g/telltale has not followed yet")
    world.step()
    intent = world.step()
    assert intent.look_again is not None
    assert intent.look_again >= world.now + timedelta(seconds=5)
    assert "g/telltale" in world.status.message


def test_why_a_revision_was_rejected_is_not_forgotten_before_its_record_says_so() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.act("Abort")
    world.settle()
    world.revisions["fleet-2"] = replace(world.revisions["fleet-2"], outcome="Candidate")  # it could not be written
    world.move_alias(3)
    world.settle()
    (rejection,) = world.status.rejected_revisions
    assert (rejection.revision, rejection.reason, rejection.lapsed) == ("fleet-2", "Aborted", True)
    world.revisions["fleet-2"] = replace(world.revisions["fleet-2"], outcome="Rejected")
    world.settle()
    assert world.status.rejected_revisions == []


def test_a_rejection_that_has_lapsed_holds_nothing_though_its_record_is_not_written() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.act("Abort")
    world.settle()
    for number in (3, 2):
        world.revisions["fleet-2"] = replace(world.revisions["fleet-2"], outcome="Candidate")
        world.move_alias(number)
        world.settle()
    assert (world.phase, world.status.candidate_revision) == ("Paused", "fleet-2")
    assert world.status.rejected_revisions == []
