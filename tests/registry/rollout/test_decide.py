"""The semantics of a rollout, one sentence each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from registry.api.status import ServedModelStatus
from registry.rollout.decide import decide
from registry.rollout.snapshot import Measurement, NotFound, Traffic
from tests.registry.rollout.world import World, serving, spec, target

TEN_THEN_HALF = (
    {"setWeight": 10},
    {"pause": {"durationSeconds": 60}},
    {"setWeight": 50},
    {"pause": {"durationSeconds": 60}},
)
ERRORS = {"name": "errors", "prometheus": {"query": "errors", "max": 0.01}}
RECALL = {"name": "recall", "mlflow": {"metric": "recall", "maxDecrease": 0.05}}


def test_nothing_is_resolved_before_mlflow_has_what_is_selected() -> None:
    world = World(spec())
    world.settle()
    assert world.phase == "Pending"
    assert world.condition("Resolved") == ("False", "NoAlias")
    assert world.condition("Ready") == ("False", "NothingServes")


def test_the_first_revision_skips_partial_weights_and_serves_everything() -> None:
    world = World(spec(*TEN_THEN_HALF))
    world.move_alias(1)
    world.settle()
    assert world.weights == {"fleet-1": 100}
    world.wait(120)
    assert (world.phase, world.status.stable_revision) == ("Healthy", "fleet-1")


def test_the_first_revision_gets_no_request_before_its_pods_are_ready() -> None:
    world = World(spec(), ready=False)
    world.move_alias(1)
    world.wait(60)
    assert (world.phase, world.weights) == ("Validating", {})


def test_a_moved_alias_goes_through_every_step_to_all_of_the_traffic() -> None:
    world = serving(1, *TEN_THEN_HALF, bake=300)
    world.move_alias(2)
    world.settle()
    assert (world.phase, world.weights) == ("Paused", {"fleet-1": 90, "fleet-2": 10})
    world.wait(60)
    assert world.weights == {"fleet-1": 50, "fleet-2": 50}
    world.wait(60)
    assert (world.phase, world.weights) == ("Baking", {"fleet-2": 100})
    assert world.status.previous_revision == "fleet-1"
    world.wait(300)
    assert (world.phase, world.condition("Ready")) == ("Healthy", ("True", "Serving"))


def test_a_weight_waits_for_the_gateway_to_follow_the_one_before() -> None:
    world = serving(1, {"setWeight": 10}, {"setWeight": 20})
    world.move_alias(2)
    world.step()
    world.step()
    world.traffic = Traffic(in_sync=False)
    world.wait(30)
    assert world.weights == {"fleet-1": 90, "fleet-2": 10}
    assert world.condition("TrafficInSync") == ("False", "OutOfSync")


def test_an_open_pause_lasts_until_somebody_resumes() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.wait(100_000)
    assert (world.phase, world.weights["fleet-2"]) == ("Paused", 10)
    world.act("Resume")
    world.settle()
    assert world.weights == {"fleet-2": 100}


def test_an_approval_is_waited_for_without_a_deadline_and_given_once() -> None:
    world = serving(1, {"approval": {}}, {"setWeight": 10}, {"approval": {}})
    world.move_alias(2)
    world.wait(100_000)
    assert (world.phase, world.weights) == ("AwaitingApproval", {"fleet-1": 100})
    assert world.condition("Approved") == ("False", "AwaitingApproval")
    world.act("Approve", by="bob")
    world.wait(1000)
    assert (world.phase, world.weights["fleet-2"]) == ("AwaitingApproval", 10)


def test_another_signature_is_refused_before_any_traffic() -> None:
    world = serving(1)
    world.move_alias(2, features=("rpm", "speed"))
    world.settle()
    assert (world.phase, world.weights) == ("Rejected", {"fleet-1": 100})
    assert world.condition("Compatible") == ("False", "Incompatible")


def test_a_failing_offline_gate_is_refused_before_any_traffic() -> None:
    world = serving(1, gates=[RECALL])
    world.measurements = {"recall": Measurement(value=0.8, baseline=0.9)}
    world.move_alias(2)
    world.settle()
    assert (world.phase, world.weights) == ("Rejected", {"fleet-1": 100})
    assert world.condition("GatesPassed") == ("False", "GateFailed")


def test_a_relative_gate_is_skipped_without_a_stable_revision_and_an_absolute_one_holds() -> None:
    absolute = {"name": "least", "mlflow": {"metric": "recall", "min": 0.5}}
    world = World(spec(gates=[RECALL, absolute]), measurements={"least": Measurement(value=0.9)})
    world.move_alias(1)
    world.settle()
    assert world.phase == "Healthy"
    worse = World(spec(gates=[RECALL, absolute]), measurements={"least": Measurement(value=0.4)})
    worse.move_alias(1)
    worse.settle()
    assert (worse.phase, worse.weights) == ("Rejected", {})


def test_a_failing_online_gate_takes_the_traffic_back_and_rejects() -> None:
    world = serving(1, {"setWeight": 10}, {"gate": {}}, gates=[ERRORS])
    world.measurements = {"errors": Measurement(value=0.5)}
    world.move_alias(2)
    world.settle()
    assert (world.phase, world.weights) == ("Rejected", {"fleet-1": 100})
    world.wait(10_000)
    assert world.phase == "Rejected", "it is not tried again by itself"


def test_no_data_holds_a_step_until_the_deadline_and_then_rolls_back() -> None:
    world = serving(1, {"setWeight": 10}, {"gate": {}}, gates=[ERRORS], deadline=120)
    world.measurements = {}
    world.move_alias(2)
    world.wait(110)
    assert (world.phase, world.weights["fleet-2"]) == ("Progressing", 10)
    world.wait(20)
    assert (world.phase, world.weights) == ("Rejected", {"fleet-1": 100})


def test_too_few_samples_are_no_data() -> None:
    gate = {"name": "errors", "prometheus": {"query": "e", "max": 0.01, "samplesQuery": "n", "minimumSamples": 100}}
    world = serving(1, {"setWeight": 10}, gates=[gate])
    world.spec = spec({"setWeight": 10}, {"gate": {}}, gates=[gate])
    world.measurements = {"errors": Measurement(value=0.0, samples=99)}
    world.move_alias(2)
    world.wait(60)
    assert (world.phase, world.weights["fleet-2"]) == ("Progressing", 10)
    world.measurements = {"errors": Measurement(value=0.0, samples=100)}
    world.wait(10)
    assert world.weights == {"fleet-2": 100}


def test_while_prometheus_is_away_no_weight_changes_and_no_deadline_runs() -> None:
    world = serving(1, {"setWeight": 10}, {"gate": {}}, gates=[ERRORS], deadline=120)
    world.measurements = {"errors": Measurement(unavailable="Prometheus: connection refused")}
    world.move_alias(2)
    world.wait(3600)
    assert world.weights == {"fleet-1": 90, "fleet-2": 10}
    world.measurements = {}
    world.wait(100)
    assert world.weights["fleet-2"] == 10, "the deadline begins where it was"
    world.measurements = {"errors": Measurement(value=0.0)}
    world.wait(10)
    assert world.weights == {"fleet-2": 100}


def test_while_mlflow_is_away_no_weight_changes_and_undo_works() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {"durationSeconds": 60}}, {"setWeight": 50}, deadline=120)
    world.move_alias(2)
    world.settle()
    world.lose_mlflow()
    world.wait(3600)
    assert world.weights == {"fleet-1": 90, "fleet-2": 10}
    assert world.condition("Resolved") == ("Unknown", "MlflowUnavailable")
    world.act("Undo")
    world.settle()
    assert world.weights == {"fleet-1": 100}


def test_undo_after_a_promotion_is_one_decision_while_the_former_revision_is_warm() -> None:
    world = serving(1)
    world.move_alias(2)
    world.settle()
    assert world.weights == {"fleet-2": 100}
    world.lose_mlflow()
    world.act("Undo", by="bob", reason="phantom alarms")
    world.step()
    assert world.weights == {"fleet-1": 100}
    world.settle()
    assert world.status.rejected_revisions[0].by == "bob"


def test_undo_when_the_former_revision_has_gone_brings_its_pods_back_first() -> None:
    world = serving(1, keep=60)
    world.move_alias(2)
    world.wait(3600)
    assert world.status.previous_revision is None
    world.ready = False
    world.act("Undo")
    world.wait(5)
    assert (world.phase, world.weights) == ("Promoting", {"fleet-2": 100})
    world.ready = True
    world.wait(10)
    assert world.weights == {"fleet-1": 100}
    assert world.status.stable_revision == "fleet-1"


def test_undo_to_a_named_revision_goes_further_back() -> None:
    world = serving(1, keep=60)
    for number in (2, 3):
        world.move_alias(number)
        world.wait(3600)
    world.act("Undo", to="fleet-1")
    world.wait(60)
    assert world.weights == {"fleet-1": 100}


def test_a_way_back_is_over_only_once_the_gateway_was_seen_to_follow() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.act("Abort")
    world.step()
    assert (world.phase, world.weights) == ("RollingBack", {"fleet-1": 100}), "in sync it was with what went before"
    world.step()
    assert world.phase == "Rejected"


def test_nothing_is_undone_to_a_revision_that_never_served() -> None:
    world = serving(1, gates=[RECALL])
    world.measurements = {"recall": Measurement(value=0.1, baseline=0.9)}
    world.move_alias(2)
    world.wait(60)
    assert world.phase == "Rejected"
    world.act("Undo", to="fleet-2")
    world.wait(60)
    assert world.weights == {"fleet-1": 100}, "undo passes over the gates that it failed"
    assert world.status.action_outcomes[-1].state == "Ignored"
    assert "never served" in world.status.action_outcomes[-1].message


def test_what_is_on_its_way_out_is_not_undone_to() -> None:
    world = serving(1)
    for number in (2, 1):
        world.move_alias(number)
        world.wait(3600)
    world.spec = spec({"setWeight": 10}, {"pause": {}})
    world.move_alias(2)  # which has served before
    world.settle()
    world.act("Abort")
    world.traffic = Traffic(in_sync=False)
    world.step()
    world.act("Undo", to="fleet-2")
    world.step()
    assert world.status.action_outcomes[-1].state == "Ignored"
    assert world.weights == {"fleet-1": 100}


def test_an_undone_revision_is_not_tried_again_until_the_selector_resolves_elsewhere() -> None:
    world = serving(1)
    world.move_alias(2)
    world.wait(60)
    world.act("Undo")
    world.wait(3600)
    assert (world.phase, world.weights) == ("Rejected", {"fleet-1": 100})
    world.move_alias(3)
    world.wait(60)
    assert world.weights == {"fleet-3": 100}
    world.move_alias(2)
    world.wait(60)
    assert world.weights == {"fleet-2": 100}


def test_retry_tries_a_rejected_revision_again() -> None:
    world = serving(1, {"setWeight": 10}, {"gate": {}}, gates=[ERRORS])
    world.measurements = {"errors": Measurement(value=1.0)}
    world.move_alias(2)
    world.wait(60)
    assert world.phase == "Rejected"
    world.measurements = {"errors": Measurement(value=0.0)}
    world.act("Retry")
    world.wait(60)
    assert world.weights == {"fleet-2": 100}


def test_abort_is_latched_and_beats_promote() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.act("Promote", by="alice")
    world.act("Abort", by="bob")
    world.settle()
    assert (world.phase, world.weights) == ("Rejected", {"fleet-1": 100})
    assert [result.state for intent in world.intents for result in intent.results][-2:] == ["Applied", "Ignored"]


def test_a_promote_after_an_abort_is_ignored() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.act("Abort")
    world.traffic = Traffic(in_sync=False)
    world.wait(5)
    world.act("Promote")
    world.wait(5)
    assert (world.phase, world.weights) == ("RollingBack", {"fleet-1": 100})
    world.traffic = Traffic()
    world.wait(5)
    assert world.phase == "Rejected"


def test_promote_skips_the_remaining_steps() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}}, {"approval": {}})
    world.move_alias(2)
    world.settle()
    world.act("Promote")
    world.settle()
    assert world.weights == {"fleet-2": 100}


def test_promote_does_not_skip_what_is_judged_before_any_traffic() -> None:
    world = serving(1, {"approval": {}})
    world.ready = False
    world.move_alias(2, features=("a",))
    world.act("Promote")
    world.settle()
    assert (world.phase, world.weights) == ("Rejected", {"fleet-1": 100})


def test_a_newer_target_replaces_the_candidate_and_starts_again_at_step_0() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}}, {"setWeight": 50}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.act("Resume")
    world.settle()
    assert world.weights["fleet-2"] == 50
    world.move_alias(3)
    world.settle()
    assert world.weights == {"fleet-1": 90, "fleet-3": 10}
    assert world.status.attempt is not None
    assert world.status.attempt.step == 1
    assert not world.status.rejected_revisions


def test_an_alias_that_is_moved_back_ends_the_attempt_without_a_rejection() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.move_alias(1)
    world.settle()
    assert (world.phase, world.weights) == ("Healthy", {"fleet-1": 100})
    world.move_alias(2)
    world.settle()
    assert world.weights == {"fleet-1": 90, "fleet-2": 10}


def test_a_selector_that_means_nothing_any_more_serves_what_served() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.resolution = NotFound("NoAlias", "there is no alias champion")
    world.settle()
    assert world.weights == {"fleet-1": 100}
    assert world.condition("Resolved") == ("False", "NoAlias")
    assert world.condition("Ready") == ("True", "Serving")


def test_pods_that_never_get_ready_are_given_up_at_the_deadline() -> None:
    world = serving(1, deadline=120)
    world.ready = False
    world.move_alias(2)
    world.wait(110)
    assert world.phase == "Validating"
    world.wait(20)
    assert (world.phase, world.weights) == ("Rejected", {"fleet-1": 100})


def test_pods_that_can_never_get_ready_are_given_up_at_once() -> None:
    world = serving(1)
    world.faults = {"fleet-2": "ErrImagePull: no such image"}
    world.move_alias(2)
    world.wait(1)
    assert world.phase == "Rejected"
    assert "no such image" in world.status.message


def test_a_freeze_window_stops_starts_and_weight_increases() -> None:
    every_day_at_noon = {"schedule": "0 12 * * *", "durationSeconds": 3600, "timeZone": "Etc/UTC"}
    world = serving(1, {"setWeight": 10}, {"pause": {"durationSeconds": 600}}, {"setWeight": 50}, {"pause": {}})
    world.spec = spec(*[step.dump() for step in world.spec.rollout.steps], freezeWindows=[every_day_at_noon])
    world.now = world.now.replace(hour=11, minute=55)
    world.move_alias(2)
    world.wait(1800)
    assert (world.phase, world.weights) == ("Frozen", {"fleet-1": 90, "fleet-2": 10})
    world.wait(3600)
    assert (world.phase, world.weights) == ("Paused", {"fleet-1": 50, "fleet-2": 50})
    world.now = world.now.replace(day=world.now.day + 1, hour=12, minute=30)
    world.move_alias(3)
    world.settle()
    assert (world.phase, world.weights) == ("Frozen", {"fleet-1": 100}), "a new one does not start"


def test_a_freeze_window_never_stops_an_abort_or_an_undo() -> None:
    always = {"schedule": "* * * * *", "durationSeconds": 3600}
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.spec = spec({"setWeight": 10}, {"pause": {}}, freezeWindows=[always])
    world.act("Abort")
    world.settle()
    assert world.weights == {"fleet-1": 100}


def test_baking_rolls_back_by_itself() -> None:
    world = serving(1, gates=[ERRORS], bake=300)
    world.measurements = {"errors": Measurement(value=0.0)}
    world.move_alias(2)
    world.wait(60)
    assert world.phase == "Baking"
    world.measurements = {"errors": Measurement(value=0.9)}
    world.wait(10)
    assert (world.phase, world.weights) == ("Rejected", {"fleet-1": 100})
    world.wait(10_000)
    assert world.weights == {"fleet-1": 100}


def test_missing_data_while_baking_changes_nothing() -> None:
    world = serving(1, gates=[ERRORS], bake=300)
    world.move_alias(2)
    world.measurements = {"errors": Measurement(unavailable="away")}
    world.wait(1000)
    assert (world.phase, world.weights) == ("Healthy", {"fleet-2": 100})


def test_the_former_revision_is_kept_warm_and_then_let_go() -> None:
    world = serving(1, keep=900)
    world.move_alias(2)
    world.wait(890)
    assert world.status.previous_revision == "fleet-1"
    world.wait(20)
    assert world.status.previous_revision is None


def test_shadow_copies_requests_and_gives_the_candidate_none() -> None:
    world = serving(1, {"shadow": {"percent": 50, "durationSeconds": 60}}, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    assert (world.phase, world.weights) == ("Shadowing", {"fleet-1": 100})
    assert world.status.attempt is not None
    assert world.status.attempt.shadow_percent == 50
    world.wait(61)
    assert world.weights["fleet-2"] == 10
    assert world.status.attempt.shadow_percent == 0


def test_a_shadow_that_the_gateway_cannot_do_is_refused_not_skipped() -> None:
    world = serving(1, {"shadow": {}})
    world.traffic = Traffic(can_mirror=False)
    world.move_alias(2)
    world.settle()
    assert (world.phase, world.weights) == ("Rejected", {"fleet-1": 100})
    assert world.status.rejected_revisions[0].reason == "ShadowUnsupported"


def test_a_header_match_sends_only_such_requests_to_the_candidate() -> None:
    world = serving(1, {"match": {"header": "x-canary", "value": "true"}}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    assert world.weights == {"fleet-1": 100}
    assert world.status.attempt is not None
    assert world.status.attempt.match is not None


def test_pause_holds_and_resume_goes_on() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {"durationSeconds": 60}})
    world.move_alias(2)
    world.settle()
    world.act("Pause", reason="lunch")
    world.wait(3600)
    assert (world.phase, world.weights["fleet-2"]) == ("Paused", 10)
    world.act("Resume")
    world.settle()
    assert world.weights == {"fleet-2": 100}


def test_suspended_nothing_changes_but_by_abort_or_undo() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {"durationSeconds": 60}})
    world.move_alias(2)
    world.settle()
    world.spec = world.spec.model_copy(update={"suspend": True})
    world.wait(3600)
    assert world.weights["fleet-2"] == 10
    world.act("Abort")
    world.settle()
    assert world.weights == {"fleet-1": 100}


def test_plan_only_says_what_would_be_done_and_does_nothing() -> None:
    world = serving(1, {"setWeight": 10})
    world.spec = world.spec.model_copy(update={"plan_only": True})
    world.move_alias(2)
    world.wait(60)
    assert world.weights == {"fleet-1": 100}
    assert world.status.candidate_revision is None
    assert world.status.plan[0].startswith("create fleet-2")


def test_an_action_takes_effect_once() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}}, {"setWeight": 20}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    world.act("Resume")
    world.wait(60)
    world.settle()
    assert world.weights["fleet-2"] == 20


@pytest.mark.parametrize("kind", ["Promote", "Abort", "Undo", "Approve", "Pause", "Resume", "Retry"])
def test_an_action_with_nothing_to_do_is_ignored_and_says_so(kind: str) -> None:
    world = serving(1)
    world.act(kind)  # type: ignore[arg-type]
    intent = world.step()
    assert [result.state for result in intent.results] == ["Ignored"]
    assert world.weights == {"fleet-1": 100}


def test_a_wrong_freeze_window_shows_and_holds_nothing_up() -> None:
    world = serving(1)
    world.spec = spec(freezeWindows=[{"schedule": "0 12 * * *", "durationSeconds": 60, "timeZone": "Mars/Base"}])
    world.settle()
    assert world.condition("Degraded") == ("True", "InvalidSpec")
    assert "Mars/Base" in world.status.conditions[-1].message


def test_the_same_snapshot_gives_the_same_intent() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.step()
    assert decide(world.snapshot()) == decide(world.snapshot())


def test_a_decision_that_was_lost_is_made_again() -> None:
    """The controller ended before it wrote anything: a later decision comes to the same."""
    world = serving(1, {"setWeight": 10}, {"pause": {"durationSeconds": 60}})
    world.move_alias(2)
    lost = decide(world.snapshot())
    world.now += timedelta(seconds=3)
    again = decide(world.snapshot())
    assert (again.create, again.status.candidate_revision) == (lost.create, lost.status.candidate_revision)


def test_at_rest_nothing_is_written() -> None:
    world = serving(1)
    before = world.status
    for _ in range(5):
        world.now += timedelta(seconds=60)
        world.step()
    assert world.status == before


def test_a_clock_that_jumps_back_takes_nothing_back() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {"durationSeconds": 60}})
    world.move_alias(2)
    world.settle()
    world.now -= timedelta(hours=2)
    world.settle()
    assert world.weights["fleet-2"] == 10
    world.now += timedelta(hours=4)
    world.settle()
    assert world.weights == {"fleet-2": 100}


def test_a_status_survives_its_way_through_the_api_server() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.act("Pause")
    world.settle()
    assert ServedModelStatus.model_validate(world.status.dump()) == world.status


def test_a_candidate_whose_modelrevision_was_deleted_is_made_again() -> None:
    world = serving(1, {"setWeight": 10}, {"pause": {}})
    world.move_alias(2)
    world.settle()
    del world.revisions["fleet-2"]
    intent = world.step()
    assert intent.create == target(2)


def test_the_stable_revision_without_a_ready_pod_is_degraded() -> None:
    world = serving(1)
    world.revisions["fleet-1"] = replace(world.revisions["fleet-1"], ready=False)
    world.ready = False
    world.step()
    assert world.condition("Degraded") == ("True", "StableNotReady")
