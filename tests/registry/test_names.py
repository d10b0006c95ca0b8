"""Names that another has: its object is never touched, and what served before serves on."""

from __future__ import annotations

from typing import Any

import pytest

from faults.simulation import KEY, Bad, Simulation
from faults.stage import SimulatedStage
from killpoints.scenario import Manifest
from killpoints.scenarios import HALF, spec
from registry.api.base import API_VERSION
from registry.kubernetes.resources import (
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    MODEL_REVISIONS,
    SERVED_MODELS,
    SERVICES,
    Resource,
    resource_of,
)
from registry.kubernetes.writes import writing
from registry.names import taken_by
from registry.rollout.manifests import SERVED_MODEL_LABEL, Owner
from tests.registry.test_reconciler import rest, serving

OWNER = Owner(KEY.name, KEY.namespace, "uid-new")
OTHERS: dict[Resource, Manifest] = {
    SERVICES: {"selector": {"app": "theirs"}},
    HTTP_ROUTES: {"parentRefs": [{"name": "theirs"}], "rules": [{"backendRefs": [{"name": "theirs", "weight": 1}]}]},
}


def put(simulation: Simulation, resource: Resource, body: Manifest, name: str = KEY.name, **metadata: Any) -> Manifest:
    """Let somebody create an object."""
    manifest = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": KEY.namespace, **metadata},
        "spec": body,
    }
    return simulation.api.write(writing("create", resource, manifest), "somebody")


def assert_untouched(simulation: Simulation, theirs: Manifest) -> None:
    """Check that an object is as somebody made it; the gateway may have said something in its status."""
    found = simulation.api.get(resource_of(theirs), KEY.namespace, theirs["metadata"]["name"])
    assert found is not None
    metadata = found["metadata"] | {"resourceVersion": theirs["metadata"]["resourceVersion"]}
    assert (metadata, found["spec"]) == (theirs["metadata"], theirs["spec"])


def conditions(simulation: Simulation) -> dict[str, tuple[str, str, str]]:
    """Return the conditions of the ServedModel."""
    found = status(simulation)["conditions"]
    return {one["type"]: (one["status"], one["reason"], one["message"]) for one in found}


def status(simulation: Simulation) -> Manifest:
    """Return the status of the ServedModel."""
    served_model = simulation.api.get(SERVED_MODELS, KEY.namespace, KEY.name)
    assert served_model is not None
    found: Manifest = served_model["status"]
    return found


@pytest.mark.parametrize("resource", OTHERS, ids=lambda resource: resource.kind)
def test_no_request_goes_anywhere_while_another_has_a_name_and_all_goes_on_when_it_is_free(resource: Resource) -> None:
    simulation = Simulation(1, Bad())
    theirs = put(simulation, resource, OTHERS[resource])
    _create(simulation)
    simulation.run(60)
    message = (
        f"the {resource.kind} cars is there and does not belong to this ServedModel: delete it or give it another name,"
        " or give the ServedModel another"
    )
    found = conditions(simulation)
    assert found["TrafficInSync"] == ("False", "NameTaken", message)
    assert found["Degraded"] == ("True", "NameTaken", message)
    assert found["Ready"][0] == "False"
    assert_untouched(simulation, theirs)
    assert (status(simulation)["phase"], status(simulation)["attempt"]["weight"]) == ("Validating", 0)
    simulation.api.delete((resource, KEY.namespace, KEY.name))
    rest(simulation, "Healthy")
    assert conditions(simulation)["TrafficInSync"][0] == "True"


def test_a_name_that_is_taken_until_the_deadline_rejects_the_first_revision_and_a_retry_goes_on() -> None:
    simulation = Simulation(1, Bad())
    theirs = put(simulation, SERVICES, OTHERS[SERVICES])
    whole = spec(HALF)
    whole["rollout"]["progressDeadlineSeconds"] = 30
    stage = _create(simulation, whole)
    rest(simulation, "Rejected")
    rejection = status(simulation)["rejectedRevisions"][0]
    assert rejection["reason"] == "DeadlineExceeded"
    assert "the Service cars is there and does not belong to this ServedModel" in rejection["message"]
    assert_untouched(simulation, theirs)
    simulation.api.delete((SERVICES, KEY.namespace, KEY.name))
    stage.act("Retry")
    rest(simulation, "Healthy")


def test_a_route_whose_name_somebody_takes_is_left_to_him_and_the_pods_stay() -> None:
    simulation, stage = serving(spec(HALF))
    simulation.api.delete((HTTP_ROUTES, KEY.namespace, KEY.name))
    theirs = put(simulation, HTTP_ROUTES, OTHERS[HTTP_ROUTES])
    stage.move_alias(2)
    simulation.run(120)
    found = conditions(simulation)
    assert found["TrafficInSync"][:2] == ("False", "NameTaken")
    assert_untouched(simulation, theirs)
    assert status(simulation)["attempt"]["weight"] == 0
    assert len(list(simulation.api.list(INFERENCE_SERVICES))) == 2
    simulation.api.delete((HTTP_ROUTES, KEY.namespace, KEY.name))
    rest(simulation, "Healthy")


@pytest.mark.parametrize("resource", [INFERENCE_SERVICES, MODEL_REVISIONS], ids=lambda resource: resource.kind)
def test_a_revision_whose_name_is_taken_never_serves_and_an_abort_ends_it(resource: Resource) -> None:
    simulation, stage = serving(spec(HALF))
    first = status(simulation)["stableRevision"]
    stage.move_alias(2)
    rest(simulation, "Healthy")
    second = status(simulation)["stableRevision"]
    stage.move_alias(1)
    rest(simulation, "Healthy")
    _forget(simulation, second)
    body = (
        {"predictor": {"containers": [{"name": "theirs"}]}}
        if resource == INFERENCE_SERVICES
        else _spec_of(simulation, first)
    )
    theirs = put(simulation, resource, body, second)
    stage.move_alias(2)
    simulation.run(120)
    found = status(simulation)
    said = f"the {resource.kind} {second} is there and does not belong to this ServedModel"
    where = found["message"] if resource == INFERENCE_SERVICES else conditions(simulation)["TrafficInSync"][2]
    assert said in where
    assert (found["stableRevision"], found["candidateRevision"], found["attempt"]["weight"]) == (first, second, 0)
    stage.act("Abort")
    rest(simulation, "Rejected")
    assert_untouched(simulation, theirs)
    assert status(simulation)["stableRevision"] == first


def test_what_a_former_served_model_of_the_name_left_is_waited_for_and_not_reported() -> None:
    simulation, stage = serving(spec(HALF))
    former = simulation.api.places()
    stage.delete()
    stage.create()
    simulation.run(0.2)
    assert status(simulation).get("stableRevision") is None
    rest(simulation, "Healthy")
    owners = {
        reference["uid"]
        for (resource, _, _), manifest in simulation.api.places().items()
        if resource in (SERVICES, HTTP_ROUTES, INFERENCE_SERVICES, MODEL_REVISIONS)
        for reference in manifest["metadata"]["ownerReferences"]
    }
    served_model = simulation.api.get(SERVED_MODELS, KEY.namespace, KEY.name)
    assert served_model is not None
    assert (
        owners
        == {served_model["metadata"]["uid"]}
        != {manifest["metadata"]["uid"] for (resource, _, _), manifest in former.items() if resource == SERVED_MODELS}
    )


def test_whose_an_object_is_decides_whether_it_is_waited_for() -> None:
    reference = {"apiVersion": API_VERSION, "kind": "ServedModel", "name": KEY.name, "uid": "uid-old"}
    manifest: Manifest = {"kind": "Service", "metadata": {"name": "cars"}}
    assert not taken_by(manifest, OWNER).passing
    assert taken_by({"kind": "Service", "metadata": {"name": "cars", "ownerReferences": [reference]}}, OWNER).passing
    for other in ({"name": "trucks"}, {"kind": "Deployment"}, {"apiVersion": "apps/v1"}):
        metadata = {"name": "cars", "ownerReferences": [reference | other]}
        assert not taken_by({"kind": "Service", "metadata": metadata}, OWNER).passing
    leaving = {"name": "cars", "deletionTimestamp": "2026-03-02T10:00:00Z"}
    assert taken_by({"kind": "Service", "metadata": leaving}, OWNER).passing


@pytest.mark.parametrize("resource", [SERVICES, HTTP_ROUTES, INFERENCE_SERVICES], ids=lambda resource: resource.kind)
def test_a_label_that_somebody_takes_away_comes_back(resource: Resource) -> None:
    simulation, _ = serving(spec(HALF))
    name = status(simulation)["stableRevision"] if resource == INFERENCE_SERVICES else KEY.name
    place = (resource, KEY.namespace, name)
    live = simulation.api.places()[place]
    labels = {label: value for label, value in live["metadata"]["labels"].items() if label != SERVED_MODEL_LABEL}
    simulation.api.put(place, live | {"metadata": live["metadata"] | {"labels": labels}})
    rest(simulation, "Healthy")
    assert simulation.api.places()[place]["metadata"]["labels"] == live["metadata"]["labels"]
    assert simulation.wrong == []


def _create(simulation: Simulation, whole: Manifest | None = None) -> SimulatedStage:
    """Create the ServedModel."""
    stage = SimulatedStage(simulation, whole or spec(HALF))
    simulation.cluster.install_gateway("gateway", "telltale", can_mirror=True)
    stage.move_alias(1)
    stage.create()
    return stage


def _spec_of(simulation: Simulation, revision: str) -> Manifest:
    found = simulation.api.get(MODEL_REVISIONS, KEY.namespace, revision)
    assert found is not None
    return {**found["spec"]}


def _forget(simulation: Simulation, revision: str) -> None:
    """Let a revision's objects be gone for good."""
    simulation.run(90_000)
    for resource in (INFERENCE_SERVICES, MODEL_REVISIONS):
        place = (resource, KEY.namespace, revision)
        simulation.api.delete(place)
        simulation.api.finalize(place)
    rest(simulation, "Healthy")
