"""What the status says of each gate: enough to see why a rollout waits, and nothing that changes at every look."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from registry.rollout.snapshot import Measurement
from tests.registry.rollout.test_decide import ERRORS, RECALL, serving
from tests.registry.rollout.world import World, spec

STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 10}, {"gate": {}}, {"pause": {}})


def said(world: World) -> dict[str, str]:
    """Return the state of each gate."""
    return {gate.name: gate.state for gate in world.status.gates}


def judged(*, errors: Measurement, bake: int = 0) -> World:
    """Return a rollout that has come to its online gate."""
    world = serving(1, *STEPS, gates=[RECALL, ERRORS], bake=bake)
    world.measurements = {"recall": Measurement(value=0.9, baseline=0.9), "errors": errors}
    world.move_alias(2)
    world.settle()
    return world


def test_each_gate_says_what_it_came_to() -> None:
    assert said(judged(errors=Measurement(value=0.0))) == {"recall": "Passed", "errors": "Passed"}
    assert said(judged(errors=Measurement(value=0.5))) == {"recall": "Passed", "errors": "Failed"}
    assert said(judged(errors=Measurement())) == {"recall": "Passed", "errors": "NoData"}
    assert said(judged(errors=Measurement(unavailable="away"))) == {"recall": "Passed", "errors": "Unavailable"}


def test_a_gate_that_was_not_asked_yet_says_nothing() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}}, {"gate": {}}, gates=[RECALL, ERRORS])
    world.measurements = {"recall": Measurement(value=0.9, baseline=0.9)}
    world.move_alias(2)
    world.settle()
    assert said(world) == {"recall": "Passed"}


def test_a_gate_that_goes_on_passing_changes_nothing_in_the_status() -> None:
    world = judged(errors=Measurement(value=0.0), bake=300)
    world.act("Promote")
    world.settle()
    assert world.phase == "Baking"
    before = world.status
    for hundredth in range(5):
        world.now += timedelta(seconds=1)
        world.measurements = {"errors": Measurement(value=hundredth / 1000)}
        world.step()
    assert world.status == before


def test_a_gate_that_changes_its_mind_says_since_when() -> None:
    world = judged(errors=Measurement())
    before = next(gate for gate in world.status.gates if gate.name == "errors")
    world.now += timedelta(seconds=20)
    world.step()
    assert next(gate for gate in world.status.gates if gate.name == "errors").since == before.since
    world.measurements |= {"errors": Measurement(value=0.0)}
    world.step()
    after = next(gate for gate in world.status.gates if gate.name == "errors")
    assert (after.state, after.since) == ("Passed", world.now)


def test_verdicts_stay_with_what_they_were_about_until_the_next_candidate() -> None:
    world = judged(errors=Measurement(value=0.0))
    world.act("Promote")
    world.wait(10)
    assert (world.phase, said(world)) == ("Healthy", {"recall": "Passed", "errors": "Passed"})
    world.measurements = {"recall": Measurement(value=0.1, baseline=0.9)}
    world.move_alias(3)
    world.settle()
    assert (world.phase, said(world)) == ("Rejected", {"recall": "Failed"})


def test_a_gate_that_the_spec_no_longer_has_is_forgotten_with_the_next_candidate() -> None:
    world = judged(errors=Measurement(value=0.0))
    world.act("Promote")
    world.wait(10)
    world.spec = spec(gates=[RECALL])
    world.move_alias(3)
    world.settle()
    assert said(world) == {"recall": "Passed"}
