"""What `{candidate}`, `{stable}`, `{namespace}` and `{elapsed}` stand for in a gate's query."""

from __future__ import annotations

from registry.measuring import placeholders
from registry.rollout.snapshot import Measurement
from tests.registry.rollout.test_decide import ERRORS, serving


def test_elapsed_counts_from_the_last_change_of_the_share_and_over_pauses() -> None:
    steps = ({"setWeight": 10}, {"pause": {"durationSeconds": 300}}, {"gate": {}})
    world = serving(1, *steps, gates=[ERRORS])
    world.measurements = {}  # no data: it stays at the gate
    world.move_alias(2)
    world.settle()
    since = world.now
    world.wait(310)
    found = placeholders(world.snapshot(), "cars")
    assert (world.phase, found["candidate"], found["stable"], found["namespace"]) == (
        "Progressing",
        "fleet-2",
        "fleet-1",
        "cars",
    )
    assert abs(int(found["elapsed"]) - (world.now - since).total_seconds()) <= 5


def test_a_gate_after_a_shadow_judges_what_was_copied() -> None:
    steps = ({"shadow": {"durationSeconds": 60}}, {"gate": {}})
    world = serving(1, *steps, gates=[ERRORS])
    world.measurements = {}  # no data: it stays at the gate
    world.move_alias(2)
    world.wait(70)
    assert world.status.attempt is not None
    assert (world.status.attempt.step, world.status.attempt.shadow_percent) == (1, 0)
    assert int(placeholders(world.snapshot(), "cars")["elapsed"]) >= 60


def test_while_baking_the_candidate_is_what_was_promoted() -> None:
    world = serving(1, gates=[ERRORS], bake=300)
    world.measurements = {"errors": Measurement(value=0.0)}
    world.move_alias(2)
    world.wait(100)
    found = placeholders(world.snapshot(), "cars")
    assert (world.phase, found["candidate"], found["stable"]) == ("Baking", "fleet-2", "fleet-1")
    assert 90 <= int(found["elapsed"]) <= 110
