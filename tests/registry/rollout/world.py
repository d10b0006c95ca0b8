"""A world in which decisions come true: pods start, gateways follow, people act, and a clock that is moved by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from registry.api.model_revision import ModelRevisionSpec
from registry.api.rollout_action import Kind
from registry.api.served_model import ServedModelSpec
from registry.api.status import ServedModelStatus
from registry.rollout.decide import decide
from registry.rollout.intent import Event, Intent
from registry.rollout.manifests import weights
from registry.rollout.snapshot import (
    Action,
    Measurement,
    NotFound,
    Resolution,
    Revision,
    Snapshot,
    Target,
    Traffic,
    Unknown,
)

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
PREDICTOR = {"image": "telltale/predictor@sha256:1", "modelStore": "s3://models"}


def spec(*steps: dict[str, Any], **more: Any) -> ServedModelSpec:
    """Return a spec with these steps; `keep` and `bake` set the seconds of the way back."""
    rollback = {"keepWarmSeconds": more.pop("keep", 900), "autoWindowSeconds": more.pop("bake", 0)}
    rollout = {"steps": list(steps), "progressDeadlineSeconds": more.pop("deadline", 600)}
    whole = {
        "model": {"name": "default", "alias": "champion"},
        "predictor": PREDICTOR,
        "route": {
            "gatewayRef": {"name": "telltale"},
            "hostnames": ["fleet.example.com"],
            "grpcHostnames": ["fleet-grpc.example.com"],
        },
        "rollout": rollout,
        "rollback": rollback,
    }
    return ServedModelSpec.model_validate(whole | more)


def target(number: int, features: tuple[str, ...] = ("speed", "rpm")) -> Target:
    """Return version `number` as the selector's target."""
    revision = ModelRevisionSpec(
        served_model="fleet",
        model="default",
        version=f"{20260101000000 + number}",
        mlflow_version=str(number),
        mlflow_run_id="0" * 32,
        digest=f"sha256:{number}",
        feature_names=list(features),
        predictor=spec().predictor,
    )
    return Target(f"fleet-{number}", revision)


@dataclass
class World:
    """Everything outside of the decision."""

    spec: ServedModelSpec
    now: datetime = START
    status: ServedModelStatus = field(default_factory=ServedModelStatus)
    resolution: Resolution = field(default_factory=lambda: NotFound("NoAlias", "there is no alias champion"))
    revisions: dict[str, Revision] = field(default_factory=dict)
    measurements: dict[str, Measurement] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    traffic: Traffic = field(default_factory=Traffic)
    ready: bool = True
    faults: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)

    def snapshot(self) -> Snapshot:
        """Return what a decision sees now."""
        return Snapshot(
            now=self.now,
            name="fleet",
            generation=1,
            spec=self.spec,
            status=self.status,
            resolution=self.resolution,
            revisions=self.revisions,
            actions=tuple(self.actions),
            measurements=self.measurements,
            traffic=self.traffic,
        )

    def step(self) -> Intent:
        """Decide once, and let it come true."""
        intent = decide(self.snapshot())
        self.intents.append(intent)
        self.events += intent.events
        self.status = intent.status
        if intent.create is not None:
            name = intent.create.revision
            self.revisions.setdefault(name, Revision(name, intent.create.spec))
        for outcome in intent.outcomes:
            known = self.revisions.get(outcome.revision)
            if known is not None:
                until = self.now if outcome.outcome in ("Superseded", "RolledBack") else known.served_until
                served = known.served_until if known.outcome != "Stable" else until
                self.revisions[outcome.revision] = Revision(
                    known.name, known.spec, outcome=outcome.outcome, served_until=served, ready=known.ready
                )
        self._pods()
        return intent

    def _pods(self) -> None:
        alive = {self.status.stable_revision, self.status.candidate_revision, self.status.previous_revision}
        for name, known in self.revisions.items():
            ready = name in alive and (known.ready or (self.ready and name not in self.faults))
            fault = self.faults.get(name) if name in alive else None
            self.revisions[name] = Revision(
                name,
                known.spec,
                outcome=known.outcome,
                served_until=known.served_until,
                ready=ready,
                lost=not ready,
                fault=fault,
            )

    def settle(self, *, most: int = 100) -> None:
        """Decide until nothing changes without time going on."""
        for _ in range(most):
            before = self.status
            intent = self.step()
            if intent.status == before and (intent.look_again is None or intent.look_again > self.now):
                return
        raise AssertionError("it never comes to rest")

    def wait(self, seconds: float) -> None:
        """Let time go by, deciding whenever a decision was asked for."""
        end = self.now + timedelta(seconds=seconds)
        self.settle()
        while True:
            due = self.intents[-1].look_again
            if due is None or due > end:
                break
            self.now = max(due, self.now + timedelta(milliseconds=1))
            self.settle()
        self.now = end
        self.settle()

    def move_alias(self, number: int, **more: Any) -> None:
        """Let the alias name another version."""
        self.resolution = target(number, **more)

    def lose_mlflow(self) -> None:
        """Let MLflow be away."""
        self.resolution = Unknown("MLflow: connection refused")

    def act(self, kind: Kind, *, by: str = "alice", to: str | None = None, reason: str = "") -> Action:
        """Let somebody act."""
        action = Action(f"uid-{len(self.actions)}", kind, by, reason, self.now, to)
        self.actions.append(action)
        return action

    @property
    def weights(self) -> dict[str, int]:
        """Where requests go."""
        return weights(self.status)

    @property
    def phase(self) -> str:
        """Where the rollout stands."""
        return self.status.phase

    def condition(self, kind: str) -> tuple[str, str]:
        """Return a condition's status and reason."""
        found = next(condition for condition in self.status.conditions if condition.type == kind)
        return found.status, found.reason


def serving(number: int, *steps: dict[str, Any], **more: Any) -> World:
    """Return a world in which version `number` has served for an hour."""
    world = World(spec(*steps, **more))
    world.measurements = {"errors": Measurement(value=0.0), "recall": Measurement(value=0.9)}
    world.move_alias(number)
    world.wait(3600)
    for action in ("Resume",):
        while world.phase == "Paused":
            world.act(action)  # type: ignore[arg-type]
            world.wait(60)
    while world.phase == "AwaitingApproval":
        world.act("Approve")
        world.wait(60)
    assert world.phase == "Healthy", world.status
    world.events.clear()
    return world
