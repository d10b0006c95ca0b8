"""Every transition of a rollout, as a scenario of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from killpoints.scenario import Manifest, Scenario, Stage, Step
from registry.api.rollout_action import Kind

HUGE = {"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}}
BAD_VERSION, OTHER_FEATURES = 8, 9


def version_id(number: int) -> str:
    """Return the id of MLflow's version ``number``."""
    return str(20260101000000 + number)


def spec(*steps: Manifest, keep: int = 86_400, bake: int = 0, **more: Any) -> Manifest:
    """Return a spec with these steps; ``keep`` and ``bake`` are the seconds of the way back.

    What is not to end within a scenario is long, so that no fault of the API server can outlast it.
    """
    return {
        "model": {"name": "cars", "alias": "champion"},
        "predictor": {
            "image": "telltale/predictor:dev",
            "modelStore": "s3://models/store",
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "1Gi"}},
        },
        "route": {
            "gatewayRef": {"name": "telltale", "namespace": "gateway"},
            "hostnames": ["cars.example.com"],
            "grpcHostnames": ["cars-grpc.example.com"],
        },
        "rollout": {"steps": list(steps), "progressDeadlineSeconds": 7200},
        "rollback": {"keepWarmSeconds": keep, "autoWindowSeconds": bake},
        "gates": [{"name": "flags", "mlflow": {"metric": "holdout_flag_rate", "max": 0.2}}],
        **more,
    }


ERRORS = {"name": "errors", "prometheus": {"query": "errors of {candidate}", "max": 0.01}}
HALF: Manifest = {"setWeight": 50}
OPEN: Manifest = {"pause": {}}


def _nothing(_: Stage) -> None:
    pass


def _create(stage: Stage) -> None:
    stage.move_alias(1)
    stage.measure(0.0)
    stage.create()


def _alias(number: int | None) -> Callable[[Stage], None]:
    return lambda stage: stage.move_alias(number)


def _act(kind: Kind, to: int | None = None) -> Callable[[Stage], None]:
    return lambda stage: stage.act(kind, to)


def _suspend(suspended: bool) -> Callable[[Stage], None]:
    return lambda stage: stage.patch({"suspend": suspended})


def _sources(*, away: bool) -> Callable[[Stage], None]:
    return lambda stage: stage.set_sources(away=away)


def _fail_while_baking(stage: Stage) -> None:
    stage.measure(1.0)


def _ask_for_too_much(stage: Stage) -> None:
    stage.patch({"predictor": {"resources": HUGE}, "rollout": {"progressDeadlineSeconds": 10}})


def _freeze_and_move(stage: Stage) -> None:
    stage.freeze(3600)
    stage.move_alias(2)


FIRST = Step(_create, "Healthy")
# The first revision waits at an open pause too.
FIRST_PAUSED = (Step(_create, "Paused"), Step(_act("Promote"), "Healthy"))
SECOND_PAUSED = (*FIRST_PAUSED, Step(_alias(2), "Paused"))
PAUSED = spec({"setWeight": 10}, OPEN, HALF)
SECOND = Step(_alias(2), "Healthy")

SCENARIOS = (
    Scenario("first", spec(HALF), (), (FIRST,)),
    Scenario("weights", spec({"setWeight": 10}, {"pause": {"durationSeconds": 1}}, HALF), (FIRST,), (SECOND,)),
    Scenario("gate", spec({"setWeight": 10}, {"gate": {}}, HALF, gates=[ERRORS]), (FIRST,), (SECOND,)),
    Scenario(
        "approval",
        spec({"setWeight": 20}, {"approval": {}}, HALF),
        (Step(_create, "AwaitingApproval"), Step(_act("Approve"), "Healthy")),
        (Step(_alias(2), "AwaitingApproval"), Step(_act("Approve"), "Healthy")),
    ),
    Scenario("shadow", spec({"shadow": {"percent": 50, "durationSeconds": 1}}, HALF), (FIRST,), (SECOND,)),
    Scenario(
        "abort-shadow",
        spec({"shadow": {"percent": 50, "durationSeconds": 7200}}, HALF),
        (FIRST, Step(_alias(2), "Shadowing")),
        (Step(_act("Abort"), "Rejected"),),
    ),
    Scenario(
        "match",
        spec({"match": {"header": "x-ring", "value": "canary"}}, OPEN, HALF),
        (Step(_create, "Paused"), Step(_act("Resume"), "Healthy")),
        (Step(_alias(2), "Paused"), Step(_act("Resume"), "Healthy")),
    ),
    Scenario("pause", PAUSED, SECOND_PAUSED, (Step(_act("Pause"), "Paused"), Step(_act("Resume"), "Paused"))),
    Scenario("promote", PAUSED, SECOND_PAUSED, (Step(_act("Promote"), "Healthy"),)),
    Scenario("abort", PAUSED, SECOND_PAUSED, (Step(_act("Abort"), "Rejected"),)),
    Scenario("undo-candidate", PAUSED, SECOND_PAUSED, (Step(_act("Undo"), "Rejected"),)),
    Scenario("undo-warm", spec(HALF), (FIRST, SECOND), (Step(_act("Undo"), "Rejected"),)),
    Scenario(
        "undo-outage",
        spec(HALF),
        (FIRST, SECOND),
        (
            Step(_sources(away=True), "Healthy"),
            Step(_act("Undo"), "Rejected"),
            Step(_sources(away=False), "Rejected"),
        ),
    ),
    Scenario("undo-cold", spec(HALF, keep=0), (FIRST, SECOND), (Step(_act("Undo"), "Rejected"),)),
    Scenario(
        "undo-to",
        spec(HALF, keep=0),
        (FIRST, SECOND, Step(_alias(3), "Healthy")),
        (Step(_act("Undo", 1), "Rejected"),),
    ),
    Scenario("newer", PAUSED, SECOND_PAUSED, (Step(_alias(3), "Paused"),)),
    Scenario("back", PAUSED, SECOND_PAUSED, (Step(_alias(1), "Healthy"),)),
    Scenario("no-alias", PAUSED, SECOND_PAUSED, (Step(_alias(None), "Healthy"),)),
    Scenario(
        "deadline",
        spec(HALF),
        (FIRST,),
        (Step(_ask_for_too_much, "Rejected"),),
    ),
    Scenario("offline-gate", spec(HALF), (FIRST,), (Step(_alias(BAD_VERSION), "Rejected"),)),
    Scenario("incompatible", spec(HALF), (FIRST,), (Step(_alias(OTHER_FEATURES), "Rejected"),)),
    Scenario(
        "baking",
        spec(HALF, bake=7200, gates=[ERRORS]),
        (FIRST,),
        (Step(_alias(2), "Baking"), Step(_fail_while_baking, "Rejected")),
    ),
    Scenario(
        "retry",
        PAUSED,
        (*SECOND_PAUSED, Step(_act("Abort"), "Rejected")),
        (Step(_act("Retry"), "Paused"), Step(_act("Promote"), "Healthy")),
    ),
    Scenario(
        "freeze",
        spec(HALF),
        (FIRST,),
        (Step(_freeze_and_move, "Frozen"), Step(lambda stage: stage.elapse(3600), "Healthy")),
        by_hand_only=True,
    ),
    Scenario(
        "suspend",
        PAUSED,
        SECOND_PAUSED,
        (
            Step(_suspend(True), "Paused"),
            Step(_act("Abort"), "Rejected"),
            Step(_alias(3), "Rejected"),
            Step(_suspend(False), "Paused"),
        ),
    ),
    Scenario(
        "history",
        spec(HALF, keep=0, revisionHistoryLimit=1),
        (FIRST, SECOND),
        (Step(_alias(3), "Healthy"), Step(_alias(4), "Healthy")),
    ),
    Scenario(
        "deleted",
        PAUSED,
        FIRST_PAUSED,
        (Step(_alias(2), "Paused"), Step(lambda stage: stage.delete(), None)),
        while_down=Step(lambda stage: stage.delete(), None),
    ),
)


def named(name: str) -> Scenario:
    """Return a scenario; KeyError if there is none of that name."""
    return {scenario.name: scenario for scenario in SCENARIOS}[name]
