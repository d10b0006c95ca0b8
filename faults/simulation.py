"""Hours of a ServedModel's life in a moment: everything that happens is an event at a time that the seed decides.

The controller's code is the real one; the threads around it (watches, workers, polls, lists) are these events.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from faults.api_server import ApiServer
from faults.cluster import Cluster
from faults.controller import Replica
from faults.weather import FaultyApi
from killpoints.clock import HandClock
from killpoints.models import Models
from killpoints.seam import Crash
from killpoints.witness import Invariants
from registry.errors import Conflict, KubernetesError, KubernetesUnavailable, PrometheusUnavailable, RegistryError
from registry.kubernetes.resources import (
    DEPLOYMENTS,
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    SERVING,
    Manifest,
    Resource,
)
from registry.work_queue import Key

KEY = Key("fleet", "cars")
START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
_WATCHED = (SERVED_MODELS, MODEL_REVISIONS, ROLLOUT_ACTIONS, DEPLOYMENTS, *SERVING)
_BY_GENERATION = (SERVED_MODELS, MODEL_REVISIONS)
_RELIST_SECONDS, _POLL_SECONDS, _FLUSH_SECONDS = 20.0, 3.0, 5.0


@dataclass
class Bad:
    """How bad the weather is.

    Args:
        calls: the share of calls that fail.
        dropped: the share of watch events that are lost.
        doubled: the share of watch events that come twice.
        rivals: the share of writes before which another replica looks, as if it led, too.
        outages: the share of polls that MLflow does not answer.

    """

    calls: float = 0.0
    dropped: float = 0.0
    doubled: float = 0.0
    rivals: float = 0.0
    outages: float = 0.0


class SimulatedInvariants(Invariants):
    """What must hold at every write, where pods may fall ill between a status and the route that follows from it."""

    def __init__(self, api: ApiServer, cluster: Cluster) -> None:
        super().__init__(api, KEY.namespace, KEY.name)
        self._cluster = cluster

    def is_ready(self, revision: str) -> bool:
        """Tell whether a revision's pods have been ready."""
        return self._cluster.has_been_ready(revision)


class Simulation:
    """One ServedModel, its cluster, and its controllers.

    Args:
        seed: of all that is drawn.
        bad: the weather.

    """

    def __init__(self, seed: int, bad: Bad) -> None:
        self.chooser, self.bad = random.Random(seed), bad  # noqa: S311 - repeatable
        # The controller's clock may be set wrong; the API server's stamps are by another.
        self.clock, self._true_clock, self.models = HandClock(START), HandClock(START), Models()
        self.api = ApiServer(self._true_clock)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._now, self._due = 0.0, float("inf")
        self.cluster = Cluster(self.api, self.later, self.chooser)
        self.invariants = SimulatedInvariants(self.api, self.cluster)
        self.measured: float | None = 0.0
        self.prometheus_is_away = False
        self.crashes, self.faults = 0, 0
        self.wrong: list[str] = []
        self._pending = 0
        self._marks = {"list": -1.0, "poll": -1.0, "flush": -1.0}
        self._last_look: tuple[float, bool, str | None] = (-1.0, False, None)
        self._in_rival = False
        self.others: Callable[[], None] = _do_nothing
        self.replica: Replica | None = self.make_replica()
        self._rival = self.make_replica()
        self.api.watchers.append(self._watch)
        self._every(_RELIST_SECONDS, self._list)
        self._every(_POLL_SECONDS, self._poll)
        self._every(_FLUSH_SECONDS, self._flush)

    def make_replica(self) -> Replica:
        """Start a controller that knows nothing."""
        api = FaultyApi(self.api, self.chooser, lambda: self.bad.calls, self.invariants, self._meanwhile)
        return Replica(
            api, KEY, self.models, self.models, self._ask, self.clock, lambda: self._now, lambda: self.look_in(0.0)
        )

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Have something done in so many seconds; it is waited for."""
        self._pending += 1

        def done() -> None:
            self._pending -= 1
            do()

        self._at(seconds, done)

    def look_in(self, seconds: float) -> None:
        """Have the controller look in so many seconds, at the latest."""
        self._due = min(self._due, self._now + seconds)

    def now(self) -> float:
        """Return the seconds since the beginning."""
        return self._now

    def run(self, seconds: float) -> None:
        """Let time go by."""
        end = self._now + seconds
        while self._step(end):
            continue
        self._pass_to(end)

    def run_to_rest(self, is_there: Callable[[str | None], bool], since: float, most: float) -> str | None:
        """Let time go by until nothing is to be done in a phase that will do.

        Args:
            is_there: whether a phase will do.
            since: what happened then must have been heard of.
            most: seconds.

        Returns:
            What is wrong, or None.

        """
        end = self._now + most
        while self._step(end):
            if self._is_at_rest(since, is_there):
                return None
        return f"after {most:.0f} s it is in {self._last_look[2]} and not at rest"

    def _is_at_rest(self, since: float, is_there: Callable[[str | None], bool]) -> bool:
        looked_at, is_quiet, phase = self._last_look
        informed = min(self._marks.values()) > since and looked_at > since
        return informed and is_quiet and is_there(phase) and not self._pending and self._due > self._now + 2.0

    def _step(self, end: float) -> bool:
        """Do what comes next, if it comes before ``end``."""
        at = self._events[0][0]
        if min(at, self._due) > end:
            return False
        if self._due <= at:
            self._pass_to(max(self._due, self._now))
            self._due = float("inf")
            self._look()
        else:
            self._pass_to(at)
            heapq.heappop(self._events)[2]()
        return True

    def _pass_to(self, moment: float) -> None:
        for clock in (self.clock, self._true_clock):
            clock.advance(moment - self._now)
        self._now = moment

    def _at(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._now + seconds, next(self._number), do))

    def _every(self, seconds: float, do: Callable[[], None]) -> None:
        def again() -> None:
            self._at(seconds, again)
            do()

        self._at(seconds, again)

    def _look(self) -> None:
        replica = self.replica
        if replica is None:
            return
        written = len(replica.api.writes)
        try:
            looked = replica.reconciler.reconcile(KEY)
            taken = replica.write_back.flush()
        except Crash:
            self._end()
            return
        except RegistryError as error:
            self._last_look = (self._now, False, None)
            self.look_in(self._backoff(replica, error))
            return
        replica.backoff.worked(KEY)
        self._last_look = (self._now, self._is_told(taken) and len(replica.api.writes) == written, looked.phase)
        if looked.again_in is not None:
            self.look_in(looked.again_in)

    def _backoff(self, replica: Replica, error: RegistryError) -> float:
        if isinstance(error, Conflict):
            return 0.05
        if not isinstance(error, KubernetesUnavailable):
            self.wrong.append(f"a look ended with {type(error).__name__}: {error}")
        return max(replica.backoff.failed(KEY), getattr(error, "retry_after", None) or 0.0)

    def _end(self) -> None:
        """The controller is dead; another begins after a while."""
        self.crashes += 1
        self.replica = None
        self._last_look = (self._now, False, None)
        self.later(1 + self.chooser.random() * 10, self._begin)

    def _begin(self) -> None:
        self.replica = self.make_replica()
        self._list()

    def _watch(self, kind: str, resource: Resource, manifest: Manifest) -> None:
        if resource not in _WATCHED or (kind == "MODIFIED" and self._is_old(resource, manifest)):
            return
        draw = self.chooser.random()
        if draw < self.bad.dropped:
            return
        times = 2 if draw < self.bad.dropped + self.bad.doubled else 1
        for _ in range(times):
            self.later(0.01 + self.chooser.random() * 0.05, lambda: self.look_in(0.0))

    def _is_old(self, resource: Resource, manifest: Manifest) -> bool:
        """Tell whether an event is of a status that the controller wrote itself."""
        if resource == ROLLOUT_ACTIONS:
            return "state" in (manifest.get("status") or {})
        return resource in _BY_GENERATION

    def _list(self) -> None:
        if self.replica is None:
            return
        try:
            self.replica.relist.step()
        except KubernetesError:
            self._at(1.0, self._list)
            return
        self._marks["list"] = self._now

    def _poll(self) -> None:
        if self.bad.outages:
            self.models.is_away = self.chooser.random() < self.bad.outages
        if self.replica is not None:
            self.replica.resolver.poll()
            self._marks["poll"] = -1.0 if self.bad.outages and self.models.is_away else self._now

    def _flush(self) -> None:
        if self.replica is not None and self._is_told(self.replica.write_back.flush()):
            self._marks["flush"] = self._now

    def _is_told(self, taken: bool) -> bool:
        """Tell whether MLflow has been told everything, or is away for good and cannot be."""
        return taken or (self.models.is_away and not self.bad.outages)

    def _meanwhile(self) -> None:
        """People act, and another replica that also believes that it leads looks, while the first is about to write."""
        if self._in_rival or self.chooser.random() >= self.bad.rivals:
            return
        self._in_rival = True
        try:
            self.others()
            self._rival.resolver.poll()
            self._rival.reconciler.reconcile(KEY)
        except RegistryError:
            return
        except Crash:
            self._rival = self.make_replica()
        finally:
            self._in_rival = False

    def _ask(self, query: str) -> float | None:  # noqa: ARG002 - every query has one answer
        if self.prometheus_is_away:
            raise PrometheusUnavailable("Prometheus does not answer")
        return self.measured


def _do_nothing() -> None:
    """Nobody else does anything."""
