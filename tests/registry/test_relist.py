from __future__ import annotations

from typing import Any

from registry.kubernetes.resources import HTTP_ROUTES, ROLLOUT_ACTIONS, SERVED_MODELS, Manifest, Resource
from registry.relist import Relist
from registry.rollout.manifests import SERVED_MODEL_LABEL
from registry.work_queue import Key

CARS, VANS = Key("fleet", "cars"), Key("fleet", "vans")


class World:
    """Two ServedModels, listed by an API server in a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[Resource, list[Manifest]] = {
            SERVED_MODELS: [self._named(key.name, uid=key.name, generation=1) for key in (CARS, VANS)]
        }
        self.told: list[Key] = []
        self.hurried: list[Key] = []
        api: Any = self
        self.relist = Relist(api, ["fleet"], self.told.append, self.hurried.append)

    def list(
        self, resource: Resource, _namespace: str | None = None, _labels: str | None = None, **_: Any
    ) -> list[Manifest]:
        return self.objects.get(resource, [])

    def step(self) -> tuple[list[Key], list[Key]]:
        """List everything; return what was told, and what was hurried."""
        self.told.clear()
        self.hurried.clear()
        self.relist.step()
        return sorted(self.told), sorted(self.hurried)

    def act(self, key: Key, **status: str) -> None:
        action = self._named(f"{key.name}-abort", uid="a", resourceVersion=f"{len(status)}")
        self.objects[ROLLOUT_ACTIONS] = [action | {"spec": {"servedModel": key.name}, "status": status}]

    def route(self, key: Key, version: str) -> None:
        labels = {SERVED_MODEL_LABEL: key.name}
        self.objects[HTTP_ROUTES] = [self._named(key.name, uid="r", resourceVersion=version, labels=labels)]

    def _named(self, name: str, **more: Any) -> Manifest:
        return {"metadata": {"namespace": "fleet", "name": name, **more}}


def test_at_first_everything_is_looked_at_and_then_only_what_changed() -> None:
    world = World()
    assert world.step() == ([CARS, VANS], [])
    assert world.step() == ([], [])
    world.route(VANS, "7")
    assert world.step() == ([VANS], [])
    world.route(VANS, "8")
    assert world.step() == ([VANS], [])


def test_what_is_gone_is_looked_at_once_more() -> None:
    world = World()
    world.step()
    del world.objects[SERVED_MODELS][1]
    assert world.step() == ([VANS], [])
    assert world.step() == ([], [])


def test_an_action_that_has_not_taken_effect_goes_before_everything_else_and_is_hurried_once() -> None:
    world = World()
    world.act(CARS)
    order: list[str] = []
    api: Any = world
    Relist(api, ["fleet"], lambda key: order.append(key.name), lambda _: order.append("hurry")).step()
    assert order[0] == "hurry"
    assert world.step() == ([CARS, VANS], [CARS])
    assert world.step() == ([], [])


def test_an_action_that_has_taken_effect_hurries_nobody() -> None:
    world = World()
    world.act(CARS, state="Applied")
    assert world.step() == ([CARS, VANS], [])


def test_a_replica_that_begins_to_lead_takes_everything_as_new() -> None:
    world = World()
    world.act(CARS)
    world.step()
    world.relist.forget()
    assert world.step() == ([CARS, VANS], [CARS])
