"""What kstatus, and with it Flux and others, takes a ServedModel for.

kstatus' rules for a kind that it does not know, in their order: on its way out, Terminating; a spec that is not
observed yet, InProgress; the first of `Reconciling=True` (InProgress) and `Stalled=True` (Failed); `Ready` that is not
True, InProgress; else Current. Source: sigs.k8s.io/cli-utils, pkg/kstatus.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from registry.api.status import ServedModelStatus
from registry.kubernetes.resources import Manifest
from registry.rollout import conditions
from registry.rollout.snapshot import Measurement, NotFound, Traffic
from tests.registry.rollout.world import START, World, serving, spec

ONLINE = {"name": "errors", "prometheus": {"query": "up", "max": 1}}


def kstatus(manifest: Manifest) -> str:
    """Return what kstatus computes."""
    metadata, status = manifest["metadata"], manifest.get("status", {})
    if "deletionTimestamp" in metadata:
        return "Terminating"
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return "InProgress"
    found = [(condition["type"], condition["status"]) for condition in status.get("conditions", ())]
    for condition in found:
        if condition == ("Reconciling", "True"):
            return "InProgress"
        if condition == ("Stalled", "True"):
            return "Failed"
    return "InProgress" if dict(found).get("Ready", "True") != "True" else "Current"


def seen(world: World, *, generation: int = 1) -> str:
    """Return what kstatus says of a world's ServedModel."""
    return kstatus({"metadata": {"generation": generation}, "status": world.status.dump()})


def test_a_model_that_serves_what_is_wanted_is_current() -> None:
    world = serving(1)
    assert world.phase == "Healthy"
    assert seen(world) == "Current"


def test_a_model_that_is_watched_after_its_promotion_is_current() -> None:
    world = serving(1, bake=300)
    world.move_alias(2)
    world.settle()
    assert world.phase == "Baking"
    assert seen(world) == "Current"


def test_a_spec_that_was_not_looked_at_is_in_progress() -> None:
    assert seen(serving(1), generation=2) == "InProgress"


def test_a_first_version_that_is_not_there_yet_is_in_progress() -> None:
    world = World(spec())
    world.settle()
    assert world.phase == "Pending"
    assert seen(world) == "InProgress"


@pytest.mark.parametrize(
    ("steps", "phase"),
    [
        ([{"setWeight": 10}, {"pause": {}}], "Paused"),
        ([{"approval": {}}], "AwaitingApproval"),
        ([{"shadow": {"durationSeconds": 60}}], "Shadowing"),
        ([{"setWeight": 10}, {"gate": {}}], "Progressing"),
    ],
)
def test_a_rollout_is_in_progress_at_each_of_its_steps(steps: list[dict[str, object]], phase: str) -> None:
    world = serving(1, *steps, gates=[ONLINE])
    world.measurements = {"errors": Measurement(samples=0)}
    world.traffic = Traffic(can_mirror=True)
    world.move_alias(2)
    world.settle()
    assert world.phase == phase
    assert seen(world) == "InProgress"


def test_a_rollout_that_waits_for_a_freeze_window_to_end_is_in_progress() -> None:
    world = serving(1)
    world.spec = spec(freezeWindows=[{"schedule": "* * * * *", "durationSeconds": 3600}])
    world.move_alias(2)
    world.settle()
    assert world.phase == "Frozen"
    assert seen(world) == "InProgress"


def test_the_way_back_is_in_progress_and_then_it_has_failed() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.traffic = Traffic(in_sync=False)
    world.act("Abort")
    world.settle()
    assert world.phase == "RollingBack"
    assert seen(world) == "InProgress"
    world.traffic = Traffic()
    world.settle()
    assert world.phase == "Rejected"
    assert world.condition("Ready") == ("True", "Serving")
    assert seen(world) == "Failed"


def test_a_gateway_that_has_not_followed_is_in_progress() -> None:
    world = serving(1)
    world.traffic = Traffic(in_sync=False, message="there is no such Gateway")
    world.step()
    assert world.phase == "Healthy"
    assert seen(world) == "InProgress"


def test_a_selector_that_means_nothing_any_more_has_failed() -> None:
    world = serving(1)
    world.resolution = NotFound("NoAlias", "there is no alias champion")
    world.settle()
    assert world.condition("Stalled") == ("True", "NoAlias")
    assert seen(world) == "Failed"


def test_mlflow_being_away_is_no_failure_of_what_serves() -> None:
    world = serving(1)
    world.lose_mlflow()
    world.settle()
    assert seen(world) == "Current"


def test_a_freeze_window_that_cannot_be_followed_has_failed() -> None:
    world = serving(1)
    world.spec = spec(freezeWindows=[{"schedule": "99 0 * * *", "durationSeconds": 60}])
    world.settle()
    assert seen(world) == "Failed"


def test_pods_that_went_away_are_in_progress() -> None:
    world = serving(1)
    world.ready = False
    world.revisions = {name: replace(revision, ready=False) for name, revision in world.revisions.items()}
    world.step()
    assert world.condition("Ready") == ("False", "StableNotReady")
    assert seen(world) == "InProgress"


def test_a_stable_revision_whose_record_somebody_deleted_is_in_progress_and_says_so() -> None:
    world = serving(1)
    world.revisions = {}
    world.step()
    assert world.condition("Ready") == ("Unknown", "RevisionDeleted")
    assert world.condition("Degraded") == ("True", "RevisionDeleted")
    assert seen(world) == "InProgress"


def test_a_spec_that_is_refused_has_failed_and_keeps_the_rest_of_what_is_known() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    before = {condition.type: condition for condition in world.status.conditions}
    later = START + timedelta(days=1)
    said = conditions.of_refused(world.status.conditions, 2, later, "spec.model: no")
    again = conditions.of_refused(said, 2, later + timedelta(hours=1), "spec.model: no")
    assert again == said, "a condition that did not change keeps its time"
    status: ServedModelStatus = world.status.model_copy(update={"observed_generation": 2, "conditions": said})
    assert kstatus({"metadata": {"generation": 2}, "status": status.dump()}) == "Failed"
    after = {condition.type: condition for condition in said}
    assert after.keys() == before.keys()
    assert after["Ready"] == before["Ready"]


def test_it_is_never_in_progress_and_failed_at_once() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {"durationSeconds": 60}})
    world.spec = spec(
        {"setWeight": 10},
        {"pause": {"durationSeconds": 60}},
        freezeWindows=[{"schedule": "99 0 * * *", "durationSeconds": 60}],
    )
    world.move_alias(2)
    world.wait(30)
    world.act("Abort")
    world.wait(30)
    for intent in world.intents:
        found = {condition.type: condition.status for condition in intent.status.conditions}
        assert (found["Reconciling"], found["Stalled"]) != ("True", "True")
