"""Clocks that jump: what is stored never holds a rollout for longer than it was to last."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.registry.rollout.world import World, serving

HOUR, DAY = 3600.0, 86_400.0
BACK = pytest.mark.parametrize("seconds", [HOUR, DAY], ids=["hour", "day"])


def jump(world: World, seconds: float) -> None:
    """Set the clock, in no time at all."""
    world.now += timedelta(seconds=seconds)
    world.settle()


def rolling(*steps: dict[str, object], **more: object) -> World:
    """Return a world in which version 2 has begun."""
    world = serving(1, *steps, **more)
    world.move_alias(2)
    world.settle()
    return world


@BACK
def test_a_timed_pause_lasts_no_longer_than_it_is_to_when_the_clock_is_set_back(seconds: float) -> None:
    world = rolling({"setWeight": 10}, {"pause": {"durationSeconds": 300}})
    assert world.phase == "Paused"
    jump(world, -seconds)
    world.wait(299)
    assert world.phase == "Paused"
    world.wait(2)
    assert world.phase == "Healthy"


@BACK
def test_a_clock_that_was_ahead_and_is_put_right_holds_nothing(seconds: float) -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {"durationSeconds": 300}})
    jump(world, seconds)
    world.move_alias(2)
    world.settle()
    assert world.phase == "Paused"
    jump(world, -seconds)
    world.wait(301)
    assert world.phase == "Healthy"


@BACK
def test_a_deadline_comes_no_later_for_a_clock_that_is_set_back(seconds: float) -> None:
    world = serving(1)
    world.ready = False
    world.move_alias(2)
    world.settle()
    jump(world, -seconds)
    world.wait(world.spec.rollout.progress_deadline_seconds + 1)
    assert world.status.rejected_revisions[0].reason == "DeadlineExceeded"


@BACK
def test_baking_and_warmth_last_no_longer_for_a_clock_that_is_set_back(seconds: float) -> None:
    world = rolling(bake=300, keep=900)
    assert world.phase == "Baking"
    jump(world, -seconds)
    world.wait(299)
    assert (world.phase, world.status.previous_revision) == ("Baking", "fleet-1")
    world.wait(2)
    assert (world.phase, world.status.previous_revision) == ("Healthy", "fleet-1")
    world.wait(600)
    assert world.status.previous_revision is None


@BACK
def test_a_clock_that_jumps_ahead_passes_no_gate_and_no_approval(seconds: float) -> None:
    gate = {"name": "errors", "prometheus": {"query": "errors", "max": 1}}
    world = serving(1, {"setWeight": 10}, {"gate": {}}, {"approval": {}}, gates=[gate])
    world.measurements = {}
    world.move_alias(2)
    world.settle()
    assert (world.phase, world.weights) == ("Progressing", {"fleet-1": 90, "fleet-2": 10})
    jump(world, seconds)
    assert world.status.rejected_revisions[0].reason == "DeadlineExceeded", "no data for that long is a failure"
    assert world.weights == {"fleet-1": 100}


def test_a_window_that_is_made_shorter_ends_what_is_being_watched_sooner() -> None:
    world = rolling(bake=3600)
    world.spec = serving(1, bake=60).spec
    world.wait(61)
    assert world.phase == "Healthy"
