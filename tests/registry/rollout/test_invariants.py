"""What holds whatever happens: random histories of people, pods, gateways, outages and clocks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from registry.api.status import ServedModelStatus
from registry.rollout.decide import decide
from registry.rollout.manifests import weights
from registry.rollout.snapshot import Measurement, NotFound, Traffic, Unknown
from tests.registry.rollout.world import World, spec, target

STEPS = st.lists(
    st.sampled_from(
        [
            {"setWeight": 10},
            {"setWeight": 50},
            {"setWeight": 5},
            {"pause": {}},
            {"pause": {"durationSeconds": 30}},
            {"gate": {}},
            {"approval": {}},
            {"shadow": {"durationSeconds": 30}},
            {"match": {"header": "x", "value": "y"}},
        ]
    ),
    max_size=6,
)
GATES: list[dict[str, Any]] = [
    {"name": "errors", "prometheus": {"query": "e", "max": 0.01}},
    {"name": "recall", "mlflow": {"metric": "recall", "min": 0.5}},
]
KINDS = st.sampled_from(["Promote", "Abort", "Undo", "Approve", "Pause", "Resume", "Retry"])
NUMBERS = st.integers(1, 4)
URGENT = ("Abort", "Undo")


class Histories(RuleBasedStateMachine):
    """Any history of a ServedModel."""

    @initialize(steps=STEPS, bake=st.sampled_from([0, 60]), keep=st.sampled_from([0, 300]))
    def begin(self, steps: list[dict[str, Any]], bake: int, keep: int) -> None:
        self.world = World(spec(*steps, bake=bake, keep=keep, deadline=120, gates=GATES))
        self.world.measurements = {"errors": Measurement(value=0.0), "recall": Measurement(value=0.9)}
        self.handled: dict[str, int] = {}
        self.aborted: set[str] = set()

    @rule(number=NUMBERS)
    def alias_moves(self, number: int) -> None:
        self.world.move_alias(number)

    @rule()
    def mlflow_goes(self) -> None:
        self.world.lose_mlflow()

    @rule()
    def alias_is_deleted(self) -> None:
        self.world.resolution = NotFound("NoAlias", "there is no alias champion")

    @rule(kind=KINDS, to=st.none() | NUMBERS)
    def somebody_acts(self, kind: Any, to: int | None) -> None:
        self.world.act(kind, to=f"fleet-{to}" if to and kind == "Undo" else None)

    @rule(ready=st.booleans(), faulty=st.none() | NUMBERS)
    def pods_change(self, ready: bool, faulty: int | None) -> None:
        self.world.ready = ready
        self.world.faults = {f"fleet-{faulty}": "CrashLoopBackOff"} if faulty else {}

    @rule(in_sync=st.booleans(), can_mirror=st.sampled_from([None, True, False]))
    def gateway_changes(self, in_sync: bool, can_mirror: bool | None) -> None:
        self.world.traffic = Traffic(in_sync=in_sync, can_mirror=can_mirror)

    @rule(value=st.sampled_from([0.0, 1.0, float("nan"), None]), away=st.booleans())
    def measurements_change(self, value: float | None, away: bool) -> None:
        errors = Measurement(unavailable="away") if away else Measurement(value=value)
        self.world.measurements = {"errors": errors, "recall": Measurement(value=0.9)}

    @rule(seconds=st.sampled_from([-3600, 0, 1, 29, 31, 121, 400]))
    def time_goes_by(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule(frozen=st.booleans(), suspend=st.booleans())
    def owner_changes_the_spec(self, frozen: bool, suspend: bool) -> None:
        windows = [{"schedule": "* * * * *", "durationSeconds": 3600}] if frozen else []
        changed = self.world.spec.dump() | {"freezeWindows": windows, "suspend": suspend}
        self.world.spec = type(self.world.spec).model_validate(changed)

    @rule(times=st.integers(1, 4))
    def controller_decides(self, times: int) -> None:
        for _ in range(times):
            self._decide()

    @rule()
    def controller_ends_before_it_wrote_the_status(self) -> None:
        intent = decide(self.world.snapshot())
        if intent.create is not None:
            status, self.world.status = self.world.status, self.world.status
            created = intent.create
            self.world.revisions.setdefault(created.revision, _made(created))
            self.world.status = status

    def _decide(self) -> None:
        world = self.world
        before, snapshot = world.weights, world.snapshot()
        attempt_before = world.status.attempt
        intent = world.step()
        after = weights(intent.status)
        urgent = any(action.kind in URGENT for action in world.actions if action.uid not in self.handled)
        for result in intent.results:
            self.handled[result.uid] = self.handled.get(result.uid, 0) + 1
        for name, weight in after.items():
            if weight > before.get(name, 0) and len(before) <= 1 and name not in before:
                known = snapshot.revisions.get(name)
                assert known, f"{name} got requests and is not there"
                assert known.ready, f"{name} got requests without a ready pod"
        if isinstance(snapshot.resolution, Unknown) and not urgent and snapshot.status.phase != "RollingBack":
            undoing = attempt_before is not None and attempt_before.undo
            baking = snapshot.status.baking_until is not None
            assert after == before or undoing or baking, "traffic changed while MLflow was away"
        applied = {result.uid for result in intent.results if result.state == "Applied"}
        undone = any(action.uid in applied and action.kind == "Undo" for action in snapshot.actions)
        rolls_back = attempt_before is not None and snapshot.status.phase == "RollingBack" and not undone
        if rolls_back and attempt_before is not None and intent.status.attempt is not None:
            assert intent.status.attempt.id == attempt_before.id
            assert intent.status.attempt.weight <= attempt_before.weight, "what was aborted advanced"

    @invariant()
    def weights_sum_to_100(self) -> None:
        if hasattr(self, "world"):
            assert sum(self.world.weights.values()) in (0, 100)

    @invariant()
    def a_stable_revision_that_was_there_stays_until_another_takes_over(self) -> None:
        if hasattr(self, "world") and self.world.status.stable_revision is not None:
            assert self.world.weights

    @invariant()
    def each_action_takes_effect_once(self) -> None:
        if hasattr(self, "world"):
            assert all(count == 1 for count in self.handled.values())

    @invariant()
    def the_status_survives_the_api_server(self) -> None:
        if hasattr(self, "world"):
            assert ServedModelStatus.model_validate(self.world.status.dump()) == self.world.status

    def teardown(self) -> None:
        """When all is well again and everything is approved, it comes to rest with the target or its rejection."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.spec = type(world.spec).model_validate(world.spec.dump() | {"freezeWindows": [], "suspend": False})
        world.traffic, world.ready, world.faults = Traffic(can_mirror=True), True, {}
        world.measurements = {"errors": Measurement(value=0.0), "recall": Measurement(value=0.9)}
        world.resolution = target(2)
        for _ in range(30):
            world.wait(200)
            if world.phase in ("Healthy", "Rejected"):
                break
            world.act("Resume")
            world.act("Approve")
        assert world.phase in ("Healthy", "Rejected"), world.status
        if world.phase == "Healthy":
            assert world.weights == {"fleet-2": 100}


def _made(created: Any) -> Any:
    from registry.rollout.snapshot import Revision

    return Revision(created.revision, created.spec)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=300, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
