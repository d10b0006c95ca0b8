"""The controller's looks on an API server in a dictionary, each fault with the sentence that it broke."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import pytest

from faults.simulation import KEY, Bad, Simulation
from faults.stage import SimulatedStage
from killpoints.scenario import Manifest
from killpoints.scenarios import HALF, HUGE, spec
from registry.errors import Conflict, KubernetesForbidden, KubernetesUnavailable, NotLeading
from registry.kubernetes.resources import (
    EVENTS,
    GATEWAY_CLASSES,
    GATEWAYS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    MODEL_REVISIONS,
    SERVED_MODELS,
    SERVING,
    Resource,
)
from registry.kubernetes.writes import Write
from registry.notifications import Notification
from registry.reconciler import SETTLE

SHADOW = {"shadow": {"percent": 50, "durationSeconds": 600}}


def serving(whole: Manifest, until: str = "Healthy") -> tuple[Simulation, SimulatedStage]:
    """Return a world in which version 1 has come to rest."""
    simulation = Simulation(1, Bad())
    stage = SimulatedStage(simulation, whole)
    simulation.cluster.install_gateway("gateway", "telltale", can_mirror=True)
    stage.move_alias(1)
    stage.create()
    rest(simulation, until)
    return simulation, stage


def rest(simulation: Simulation, until: str) -> None:
    """Let what happened just now be followed until nothing is to be done."""
    fault = simulation.run_to_rest(lambda phase: phase == until, simulation.now(), 300)
    assert fault is None, fault


def deletions(simulation: Simulation) -> list[str]:
    """Return the InferenceServices that the controller asked to be deleted."""
    assert simulation.replica is not None
    return [write for write in simulation.replica.api.writes if write.startswith("delete InferenceService")]


def test_a_mirror_that_is_no_longer_wanted_is_taken_from_the_route() -> None:
    simulation, stage = serving(spec(SHADOW))
    stage.move_alias(2)
    rest(simulation, "Shadowing")
    route = simulation.api.get(HTTP_ROUTES, KEY.namespace, KEY.name)
    assert route is not None
    assert route["spec"]["rules"][0]["filters"]
    stage.act("Abort")
    rest(simulation, "Rejected")
    route = simulation.api.get(HTTP_ROUTES, KEY.namespace, KEY.name)
    assert route is not None
    assert not route["spec"]["rules"][0]["filters"]
    assert len(list(simulation.api.list(INFERENCE_SERVICES))) == 1


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    simulation, stage = serving(spec(HALF))
    simulation.clock.advance(-3600)
    stage.move_alias(2)
    rest(simulation, "Healthy")
    served_model = simulation.api.get(SERVED_MODELS, KEY.namespace, KEY.name)
    assert served_model is not None
    assert served_model["status"]["attempts"] == 2


def test_what_became_of_a_revision_reaches_mlflow_though_the_controller_ended_first() -> None:
    simulation, stage = serving(spec({"setWeight": 10}, {"pause": {}}), until="Paused")
    stage.act("Promote")
    rest(simulation, "Healthy")
    stage.move_alias(2)
    rest(simulation, "Paused")
    simulation.models.is_away = True
    stage.act("Abort")
    simulation.run(30)
    simulation.replica = simulation.make_replica()
    simulation.models.is_away = False
    simulation.replica.relist.step()
    rest(simulation, "Rejected")
    assert simulation.models.tags["2"][f"telltale.serving.{KEY.namespace}.{KEY.name}.outcome"] == "Rejected"


def test_a_revision_beyond_the_history_limit_goes_once_mlflow_has_taken_what_became_of_it() -> None:
    whole = spec(HALF, keep=0, revisionHistoryLimit=1)
    simulation, stage = serving(whole)
    for number in (2, 3):
        stage.move_alias(number)
        rest(simulation, "Healthy")
    assert simulation.replica is not None
    simulation.replica.write_back.forget()
    flush, simulation.replica.write_back.flush = simulation.replica.write_back.flush, lambda: True  # type: ignore[method-assign]
    stage.move_alias(4)
    rest_without_notes(simulation)
    assert len(list(simulation.api.list(MODEL_REVISIONS))) > 2
    simulation.replica.write_back.flush = flush  # type: ignore[method-assign]
    simulation.run(30)
    assert len(list(simulation.api.list(MODEL_REVISIONS))) == 2


def rest_without_notes(simulation: Simulation) -> None:
    """Let a rollout come to its end while MLflow takes nothing."""
    simulation.run(60)
    served_model = simulation.api.get(SERVED_MODELS, KEY.namespace, KEY.name)
    assert served_model is not None
    assert served_model["status"]["attempts"] == 4


def test_two_revisions_of_one_version_are_noted_once_and_then_no_more() -> None:
    simulation, stage = serving(spec(HALF))
    stage.patch({"predictor": {"resources": HUGE}})
    simulation.run(60)
    written: list[Mapping[str, str]] = []
    simulation.models.set_tags = lambda _model, _number, tags: written.append(tags)  # type: ignore[method-assign]
    for _ in range(5):
        simulation.look_in(0.0)
        simulation.run(5)
    assert written == []


def test_what_is_on_its_way_out_is_not_deleted_again() -> None:
    simulation, stage = serving(spec(HALF, keep=0))
    stage.move_alias(2)
    rest(simulation, "Healthy")
    assert len(deletions(simulation)) == 1


def test_a_deletion_that_somebody_was_faster_than_is_tried_again() -> None:
    simulation, stage = serving(spec(HALF, keep=0))
    assert simulation.replica is not None
    write, refused = simulation.replica.api.write, []

    def refusing_once(wanted: Write) -> Manifest:
        if wanted.verb == "delete" and not refused:
            refused.append(wanted)
            raise Conflict("try again")
        return write(wanted)

    simulation.replica.reconciler._effects._write = refusing_once
    stage.move_alias(2)
    rest(simulation, "Healthy")
    assert refused
    assert len(simulation.cluster.revisions()) == 1


def test_the_revision_that_served_last_is_kept_though_that_could_not_be_written_of_it() -> None:
    simulation, stage = serving(spec(HALF, keep=0, revisionHistoryLimit=1))
    for number in (2, 3):
        stage.move_alias(number)
        rest(simulation, "Healthy")
    assert simulation.replica is not None
    write = simulation.replica.api.write

    def refusing(wanted: Write) -> Manifest:
        if wanted.resource == MODEL_REVISIONS and "Superseded" in str(wanted.manifest.get("status")):
            raise Conflict("somebody wrote it meanwhile")
        return write(wanted)

    simulation.replica.reconciler._effects._write = refusing
    stage.move_alias(4)
    rest(simulation, "Healthy")
    kept = {one["spec"]["mlflowVersion"] for one in simulation.api.list(MODEL_REVISIONS)}
    assert kept == {"3", "4"}


def deleting_before(simulation: Simulation, verb: str, resource: Resource) -> list[Write]:
    """Let somebody delete an object just before it is written so for the next time; return whether that was done."""
    assert simulation.replica is not None
    write, met = simulation.replica.api.write, list[Write]()

    def deleted(wanted: Write) -> Manifest:
        if (wanted.verb, wanted.resource) == (verb, resource) and not met:
            met.append(wanted)
            simulation.api.delete((resource, KEY.namespace, wanted.name))
        return write(wanted)

    simulation.replica.reconciler._effects._write = deleted
    return met


def test_a_route_that_somebody_deletes_while_it_is_being_mended_is_made_again() -> None:
    simulation, _ = serving(spec(HALF))
    met = deleting_before(simulation, "replace", HTTP_ROUTES)
    simulation.api.patch(HTTP_ROUTES, KEY.namespace, KEY.name, {"useDefaultGateways": "All"}, "kubectl-edit")
    simulation.look_in(0.0)
    rest(simulation, "Healthy")
    assert met
    assert simulation.wrong == []
    assert simulation.api.get(HTTP_ROUTES, KEY.namespace, KEY.name) is not None


def test_a_served_model_that_is_deleted_before_its_status_is_written_is_let_go_of() -> None:
    simulation, stage = serving(spec(HALF))
    met = deleting_before(simulation, "replaceStatus", SERVED_MODELS)
    stage.move_alias(2)
    simulation.run(60)
    assert met
    assert simulation.wrong == []
    assert list(simulation.api.list(INFERENCE_SERVICES)) == []


class Told(list[Notification]):
    """A notifier that posts nothing."""

    def send(self, notification: Notification) -> None:
        self.append(notification)


def unavailable(*_: object) -> NoReturn:
    """Fail as the API server does."""
    raise KubernetesUnavailable("etcd")


def about_to_fail(effect: str) -> tuple[Simulation, Told]:
    """Return a world whose next look decides something, and then fails in what follows from it."""
    simulation, stage = serving(spec(HALF, notifications={"webhookSecret": "hook"}))
    assert simulation.replica is not None
    reconciler: Any = simulation.replica.reconciler
    reconciler._notifier = told = Told()
    setattr(reconciler._effects, effect, unavailable)
    stage.move_alias(2)
    simulation.replica.resolver.poll()
    return simulation, told


@pytest.mark.parametrize("effect", ["serve", "record"])
def test_what_was_decided_is_told_though_what_follows_from_it_cannot_be_written(effect: str) -> None:
    simulation, told = about_to_fail(effect)
    assert simulation.replica is not None
    events = len(list(simulation.api.list(EVENTS)))
    with pytest.raises(KubernetesUnavailable):
        simulation.replica.reconciler.reconcile(KEY)
    assert [one.document["formerPhase"] for one in told] == ["Healthy"]
    assert len(list(simulation.api.list(EVENTS))) > events


def test_why_a_look_failed_is_not_hidden_by_an_event_that_may_not_be_written() -> None:
    simulation, told = about_to_fail("serve")
    assert simulation.replica is not None
    reconciler: Any = simulation.replica.reconciler

    def not_leading(_: Write) -> NoReturn:
        raise NotLeading("no longer sure to lead")

    reconciler._recorder._write = not_leading
    with pytest.raises(KubernetesUnavailable):
        reconciler.reconcile(KEY)
    assert told


def test_a_replica_that_leads_again_gives_the_gateway_time_as_if_a_route_had_just_been_written() -> None:
    simulation, _ = serving(spec(HALF))
    assert simulation.replica is not None
    reconciler = simulation.replica.reconciler
    simulation.run(60)
    assert reconciler._settled_at(KEY) < simulation.clock()
    reconciler.forget_all()
    assert reconciler._settled_at(KEY) == simulation.clock() + SETTLE


def test_of_objects_that_are_gone_nothing_is_remembered() -> None:
    simulation, stage = serving(spec(HALF))
    assert simulation.replica is not None
    given = simulation.replica.reconciler._effects._given
    for resource in (HTTP_ROUTES, INFERENCE_SERVICES):
        (live,) = simulation.api.list(resource)
        place = (resource, KEY.namespace, live["metadata"]["name"])
        simulation.api.delete(place)
        simulation.api.finalize(place)
    simulation.look_in(0.0)
    simulation.run(120)
    there = {live["metadata"]["uid"] for resource in SERVING for live in simulation.api.list(resource)}
    assert set(given[KEY]) <= there
    stage.delete()
    simulation.run(60)
    assert KEY not in given


def test_of_a_revision_beyond_the_history_limit_no_note_is_remembered() -> None:
    simulation, stage = serving(spec(HALF, keep=0, revisionHistoryLimit=1))
    for number in (2, 3, 4):
        stage.move_alias(number)
        rest(simulation, "Healthy")
    simulation.run(60)
    assert simulation.replica is not None
    kept = {one["spec"]["mlflowVersion"] for one in simulation.api.list(MODEL_REVISIONS)}
    assert {note.of for note in simulation.replica.write_back._written if note.of} == kept


@pytest.mark.parametrize("forbidden", [GATEWAYS, GATEWAY_CLASSES])
def test_a_gateway_that_we_may_not_read_is_not_known_to_mirror_and_holds_up_no_abort(forbidden: Resource) -> None:
    simulation, stage = serving(spec(SHADOW))
    assert simulation.replica is not None
    api: Any = simulation.replica.api
    get = api.get

    def forbid(resource: Resource, *place: Any) -> Any:
        if resource == forbidden:
            raise KubernetesForbidden("gateways is forbidden")
        return get(resource, *place)

    api.get = forbid
    stage.move_alias(2)
    rest(simulation, "Shadowing")
    stage.act("Abort")
    rest(simulation, "Rejected")
    assert simulation.wrong == []
