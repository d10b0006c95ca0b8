from __future__ import annotations

from typing import Any

import pytest

from faults.api_server import ApiServer
from killpoints.clock import HandClock
from killpoints.witness import Invariants
from registry.kubernetes.resources import (
    DEPLOYMENTS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    SERVED_MODELS,
    Manifest,
    Resource,
)
from registry.kubernetes.writes import Write


class World:
    """A ServedModel `cars` with the revision `cars-a`, whose pods are ready."""

    def __init__(self) -> None:
        self.api = ApiServer(HandClock())
        self.witness = Invariants(self.api, "fleet", "cars")
        self.put(SERVED_MODELS, "cars", spec={}, status={"stableRevision": "cars-a"})
        self.put(INFERENCE_SERVICES, "cars-a", spec={"predictor": {}})
        self.put(DEPLOYMENTS, "cars-a-predictor", status={"availableReplicas": 1})

    def put(self, resource: Resource, name: str, **parts: Any) -> None:
        metadata = {"name": name, "namespace": "fleet", "uid": name}
        self.api.put((resource, "fleet", name), {"metadata": metadata, **parts})

    def write(self, verb: Any, resource: Resource, name: str, manifest: Manifest) -> list[str]:
        """Return what the witness says of a write."""
        metadata = {"metadata": {"name": name, "namespace": "fleet"}}
        self.witness.around(self.api.write, Write(verb, resource, "fleet", name, metadata | manifest))
        return self.witness.broken

    def route(self, **weights: int) -> list[str]:
        backends = [{"name": f"cars-{name}-predictor", "weight": weight} for name, weight in weights.items()]
        return self.write("apply", HTTP_ROUTES, "cars", {"spec": {"rules": [{"backendRefs": backends}]}})

    def status(self, **status: Any) -> list[str]:
        return self.write("replaceStatus", SERVED_MODELS, "cars", {"status": {"stableRevision": "cars-a"} | status})


def attempt(weight: int) -> dict[str, Any]:
    return {"id": "cars-b/1", "weight": weight, "stepStartedAt": "2026-01-01T00:00:00Z"}


def test_what_follows_from_the_status_is_in_order() -> None:
    assert World().route(a=100) == []


@pytest.mark.parametrize(
    ("weights", "said"),
    [({"a": 60}, "do not sum to 100"), ({"b": 100}, "no ready pod"), ({"a": 90, "b": 10}, "no status has had")],
)
def test_a_wrong_route_is_seen(weights: dict[str, int], said: str) -> None:
    assert said in " ".join(World().route(**weights))


def test_a_weight_that_a_status_has_is_in_order_once_its_pods_are_ready() -> None:
    world = World()
    world.put(DEPLOYMENTS, "cars-b-predictor", status={"availableReplicas": 1})
    assert world.status(candidateRevision="cars-b", attempt=attempt(10)) == []
    assert world.route(a=90, b=10) == []


def test_the_end_of_the_stable_revisions_pods_is_seen() -> None:
    assert "it is the stable revision" in " ".join(World().write("delete", INFERENCE_SERVICES, "cars-a", {}))


def test_the_end_of_pods_that_get_requests_is_seen() -> None:
    world = World()
    world.route(a=100)
    world.put(SERVED_MODELS, "cars", spec={}, status={"stableRevision": "cars-b"})
    assert "still sends it requests" in " ".join(world.write("delete", INFERENCE_SERVICES, "cars-a", {}))


def test_an_action_that_takes_effect_a_second_time_is_seen() -> None:
    world = World()
    assert world.status(processedActions=["1"]) == []
    assert world.status(processedActions=[]) == []
    assert "took effect twice" in " ".join(world.status(processedActions=["1"]))


def test_what_is_rolled_back_and_advances_is_seen() -> None:
    world = World()
    assert world.status(phase="RollingBack", candidateRevision="cars-b", attempt=attempt(0)) == []
    assert "advances" in " ".join(world.status(phase="Progressing", candidateRevision="cars-b", attempt=attempt(10)))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [({"attempts": 2}, {"attempts": 1}, "forgotten"), ({}, {"stableRevision": None}, "nothing is stable")],
)
def test_a_status_that_forgets_is_seen(before: dict[str, Any], after: dict[str, Any], said: str) -> None:
    world = World()
    assert world.status(**before) == []
    assert said in " ".join(world.status(**after))
