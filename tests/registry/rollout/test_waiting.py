"""How often a rollout looks around while it waits."""

from __future__ import annotations

from datetime import timedelta

from tests.registry.rollout.world import World, serving, spec


def pauses(world: World, seconds: float) -> list[float]:
    """Let time go by; return how many seconds lie between the looks that were asked for."""
    looks = []
    end = world.now + timedelta(seconds=seconds)
    world.settle()
    while (due := world.intents[-1].look_again) is not None and due <= end:
        looks.append((due - world.now).total_seconds())
        world.now = due
        world.settle()
    return looks


def test_the_longer_pods_are_waited_for_the_less_often_one_looks_and_the_deadline_is_met_exactly() -> None:
    world = World(spec({"setWeight": 50}, deadline=1000), ready=False)
    world.move_alias(1)
    found = pauses(world, 999.9)
    assert found[:4] == [5, 5, 5, 5]
    assert found == sorted(found)
    assert max(found) == 60
    assert len(found) < 40
    assert world.phase == "Validating"
    assert world.intents[-1].look_again == world.now + timedelta(seconds=1000 - sum(found))
    world.wait(1000 - sum(found))
    assert world.phase == "Rejected"


def test_a_source_is_asked_every_five_seconds_however_long_it_has_nothing_to_say() -> None:
    errors = {"name": "errors", "prometheus": {"query": "e", "max": 0.01}}
    world = serving(1, {"setWeight": 10}, {"gate": {}}, gates=[errors], deadline=1000)
    world.measurements = {}
    world.move_alias(2)
    assert set(pauses(world, 900)) == {5}
