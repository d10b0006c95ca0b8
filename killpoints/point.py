"""One kill: a scenario with a crash at one write, and what it left, compared with a run without one."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx2

from killpoints.clock import HandClock
from killpoints.errors import HarnessError, NotPlayed
from killpoints.final_state import FinalState, differences
from killpoints.hand import HandController, Looks, settings_for
from killpoints.play import Playing
from killpoints.query_server import QueryServer
from killpoints.scenario import Scenario
from killpoints.seam import Kill, Seam
from killpoints.stage import ClusterStage
from killpoints.victim import VictimController
from killpoints.witness import Invariants
from registry.errors import KubernetesError
from registry.work_queue import Key
from tests.registry.cluster.cluster import Cluster


@dataclass(frozen=True)
class Point:
    """Where a controller is killed, and whether by SIGKILL."""

    scenario: Scenario
    kill: Kill
    by_signal: bool = False

    def __str__(self) -> str:
        return f"{self.scenario.name}: {'SIGKILL ' if self.by_signal else ''}{self.kill}"


@dataclass(frozen=True)
class Baseline:
    """What a scenario writes and leaves when nothing disturbs it.

    Args:
        labels: of the transition's writes.
        states: after each step, from the very first.

    """

    labels: tuple[str, ...]
    states: tuple[FinalState, ...]

    @property
    def state(self) -> FinalState:
        """What is left in the end."""
        return self.states[-1]


@dataclass
class Run:
    """One play of a scenario, on one ServedModel of its own.

    Args:
        cluster: a namespace.
        name: of the ServedModel.
        scenario: what is played.
        queries: the stand-in for Prometheus.

    """

    cluster: Cluster
    name: str
    scenario: Scenario
    queries: QueryServer
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self._key = Key(self.cluster.namespace, self.name)
        self._settings = settings_for(self.cluster.namespace, self.queries.url)
        self._stage = ClusterStage(self.cluster, self.name, self.scenario, self.queries, self.clock)
        self._witness = Invariants(self.cluster.api, self.cluster.namespace, self.name)
        self._states: list[FinalState] = []
        self.was_missed = False
        self._victim: Kill | None = None
        self._kill: Kill | None = None

    def undisturbed(self) -> Baseline:
        """Play without a crash.

        Raises:
            NotPlayed: the harness itself was refused something.
            HarnessError: the scenario does not go as it says, or something is wrong even so.

        """
        playing = self._play(None)
        if self._witness.broken or playing.errors:
            raise HarnessError(f"{self.scenario.name}, undisturbed: {self._witness.broken + playing.errors}")
        return Baseline(tuple(dict.fromkeys(playing.labels)), tuple(self._states))

    def killed(self, point: Point, baseline: Baseline) -> list[str]:
        """Play with a crash; return what is wrong.

        Raises:
            NotPlayed: the harness itself was refused something.

        """
        try:
            playing = self._play(point)
        except NotPlayed:
            raise
        except HarnessError as error:
            return [f"{type(error).__name__}: {error}", *self._witness.broken]
        wrong = [*self._witness.broken, *differences(self._states[-1], baseline.state)]
        self.was_missed = playing.crashes == 0
        if playing.crashes != 1:
            wrong.append(f"the controller was killed {playing.crashes} times, and not once")
        return wrong

    def _play(self, point: Point | None) -> Playing:
        try:
            return self._played(point)
        except (KubernetesError, httpx2.HTTPError) as error:
            # What the controller meets it keeps to itself; this was asked by the people around it.
            raise NotPlayed(f"{type(error).__name__}: {error}") from error

    def _played(self, point: Point | None) -> Playing:
        playing = Playing(self.scenario, self._stage, self.clock, self._begin, self._note_state)
        try:
            playing.play(self.scenario.before)
            playing.end()
            playing.labels.clear()
            if point is not None:
                self._arm(point)
            playing.play(self.scenario.steps)
            self._look_anew(playing)
            self._note_state()
            return playing
        finally:
            playing.end()
            self._stage.clear()

    def _note_state(self) -> None:
        if self._stage.is_deleted():
            self._stage.wait_until_gone()
        self._states.append(self._stage.state())

    def _look_anew(self, playing: Playing) -> None:
        """A controller that starts at the end must find nothing to do; it repeats its notes in MLflow."""
        playing.end()
        self._victim = self._kill = None
        controller = self._begin()
        try:
            turn = controller.look()
        finally:
            controller.close()
        written = [named for named in turn.labels if not named.startswith("MLflow")]
        if written:
            self._witness.broken.append(f"a new controller wrote although all was as it should be: {written}")

    def _arm(self, point: Point) -> None:
        if point.by_signal:
            self._victim = point.kill
        else:
            self._kill = point.kill

    def _begin(self) -> Looks:
        victim, self._victim = self._victim, None
        if victim is not None:
            return VictimController(
                self._settings, self._key, self._stage.models, self.clock, victim, self._witness.broken
            )
        seam = Seam(self.name, self._witness)
        seam.kill, self._kill = self._kill, None
        models = self._stage.models
        return HandController(self._settings, self._key, models, models, seam, self.clock)
