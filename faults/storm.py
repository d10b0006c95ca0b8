"""Schedules of the second kind: anything at any time, and then peace, in which all must come to rest."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, get_args

from faults.simulation import Bad, Simulation
from faults.stage import SimulatedStage
from faults.verdict import faults_at_rest
from killpoints.scenario import Manifest
from killpoints.scenarios import ERRORS, spec
from registry.api.rollout_action import Kind
from registry.kubernetes.resources import HTTP_ROUTES, INFERENCE_SERVICES, SERVICES

_STEPS: tuple[dict[str, Any], ...] = (
    {"setWeight": 10},
    {"setWeight": 50},
    {"pause": {}},
    {"pause": {"durationSeconds": 30}},
    {"gate": {}},
    {"approval": {}},
    {"shadow": {"durationSeconds": 30}},
    {"match": {"header": "x-ring", "value": "canary"}},
)
_KINDS: tuple[Kind, ...] = get_args(Kind)
_PEACE_SECONDS, _TARGET = 200.0, 2


class Storm:
    """A schedule.

    Args:
        seed: of all that happens.

    """

    def __init__(self, seed: int) -> None:
        self._chooser = random.Random(f"storm {seed}")  # noqa: S311 - repeatable
        self.simulation = Simulation(seed, self._weather())
        self._spec = self._drawn_spec()
        self._stage = SimulatedStage(self.simulation, self._spec)

    def play(self) -> list[str]:
        """Play it; return what is wrong."""
        self.simulation.cluster.install_gateway(
            "gateway", "telltale", can_mirror=self._chooser.choice((True, True, None, False))
        )
        self._stage.move_alias(1)
        self._stage.create()
        self.simulation.others = self._act
        for _ in range(self._chooser.randint(5, 25)):
            self.simulation.run(self._chooser.choice((0.3, 2.0, 8.0, 35.0, 130.0)))
            self._chooser.choice(self._happenings())()
            if self._chooser.random() < 0.2:
                self.simulation.bad = self._weather()
        fault = self._make_peace()
        return [fault] if fault is not None else faults_at_rest(self.simulation)

    def _happenings(self) -> list[Callable[[], None]]:
        return [
            self._move_alias,
            self._move_alias,
            self._act,
            self._act,
            self._act,
            self._lose_or_find_mlflow,
            self._lose_or_find_prometheus,
            self._measure,
            self._change_pods,
            self._edit_by_hand,
            self._change_spec,
            self._turn_clock,
        ]

    def _make_peace(self) -> str | None:
        """Let all be well, and let somebody resume and approve whatever waits for it."""
        simulation = self.simulation
        simulation.bad = Bad()
        simulation.models.is_away = simulation.prometheus_is_away = False
        simulation.measured, simulation.cluster.pods_start = 0.0, True
        for revision in simulation.cluster.revisions():
            simulation.cluster.set_pods(revision, ready=True)
        self._stage.patch({"suspend": False, "freezeWindows": []})
        self._stage.move_alias(_TARGET)
        fault: str | None = "it never came to rest"
        for _ in range(30):
            began = simulation.now()
            fault = simulation.run_to_rest(lambda phase: phase in ("Healthy", "Rejected"), began, _PEACE_SECONDS)
            if fault is None:
                return None
            self._stage.act("Resume")
            self._stage.act("Approve")
        return fault

    def _weather(self) -> Bad:
        return Bad(
            calls=self._chooser.choice((0.0, 0.02, 0.1)),
            dropped=self._chooser.choice((0.0, 0.2, 1.0)),
            doubled=self._chooser.choice((0.0, 0.2)),
            rivals=self._chooser.choice((0.0, 0.0, 0.1)),
        )

    def _drawn_spec(self) -> dict[str, Any]:
        steps = [self._chooser.choice(_STEPS) for _ in range(self._chooser.randint(0, 5))]
        whole = spec(*steps, keep=self._chooser.choice((0, 300)), bake=self._chooser.choice((0, 60)))
        gates = [*whole["gates"], ERRORS]
        rollout = whole["rollout"] | {"progressDeadlineSeconds": 120}
        return whole | {"gates": gates, "rollout": rollout, "revisionHistoryLimit": self._chooser.choice((1, 10))}

    def _move_alias(self) -> None:
        self._stage.move_alias(self._chooser.choice((1, 2, 3, 4, None)))

    def _act(self) -> None:
        kind = self._chooser.choice(_KINDS)
        self._stage.act(kind, self._chooser.choice((None, None, 1, 2, 3)) if kind == "Undo" else None)

    def _lose_or_find_mlflow(self) -> None:
        self.simulation.models.is_away = not self.simulation.models.is_away

    def _lose_or_find_prometheus(self) -> None:
        self.simulation.prometheus_is_away = not self.simulation.prometheus_is_away

    def _measure(self) -> None:
        self._stage.measure(self._chooser.choice((0.0, 0.0, 1.0, float("nan"), None)))

    def _change_pods(self) -> None:
        cluster = self.simulation.cluster
        cluster.pods_start = self._chooser.random() < 0.7
        for revision in cluster.revisions():
            cluster.set_pods(revision, ready=self._chooser.random() < 0.7)

    def _edit_by_hand(self) -> None:
        """Somebody edits or deletes what is the controller's."""
        api = self.simulation.api
        mine = [place for place in api.places() if place[0] in (INFERENCE_SERVICES, HTTP_ROUTES, SERVICES)]
        if not mine:
            return
        resource, namespace, name = place = self._chooser.choice(mine)
        if self._chooser.random() < 0.5:
            self.simulation.cluster.take_by_hand(name)
            api.delete(place)
        elif resource == INFERENCE_SERVICES:
            changed: Manifest = {"maxReplicas": 9} if self._chooser.random() < 0.5 else {}
            api.patch(resource, namespace, name, {"predictor": {"nodeName": "x"} | changed}, "kubectl-edit")
        elif resource == HTTP_ROUTES:
            api.patch(resource, namespace, name, {"hostnames": ["other.example.com"]}, "kubectl-edit")

    def _change_spec(self) -> None:
        if self._chooser.random() < 0.5:
            self._stage.patch({"suspend": self._chooser.random() < 0.5})
        elif self._chooser.random() < 0.5:
            self._stage.freeze(600)
        else:
            self._stage.patch({"predictor": {"env": {"SIZE": str(self._chooser.randint(1, 2))}}})

    def _turn_clock(self) -> None:
        self.simulation.clock.advance(self._chooser.choice((-3600, 3600)))


def play(seed: int) -> list[str]:
    """Play the schedule of a seed; return what is wrong."""
    return [f"storm: {line}" for line in Storm(seed).play()]
