"""The controller as it runs, with its threads and its watches, on a real API server behind the proxy."""

from __future__ import annotations

import asyncio
import random
import time
from threading import Event as ThreadEvent
from threading import Thread

from faults.proxy import Proxy, Weather
from killpoints.errors import HarnessError, StageError
from killpoints.final_state import FinalState, differences
from killpoints.hand import make
from killpoints.models import Models
from killpoints.point import Baseline
from killpoints.query_server import QueryServer
from killpoints.scenario import Scenario
from killpoints.seam import Seam
from killpoints.stage import ClusterStage
from killpoints.witness import Invariants
from registry.settings import RegistrySettings
from registry.watching import watch
from tests.registry.cluster.cluster import Cluster

_STORM_SECONDS, _MOST_SECONDS = 45.0, 90.0
_GRACE_SECONDS = 15.0


class Live:
    """A controller whose threads and watches run; KUBECONFIG says what it takes for the API server.

    Args:
        settings: of it.
        models: MLflow.
        seam: every write goes through it.

    """

    def __init__(self, settings: RegistrySettings, models: Models, seam: Seam) -> None:
        self._controller = make(settings, source=models, notes=models, wrap=seam.wrap)
        self._stop = ThreadEvent()
        self._controller.start(self._stop)
        # When it ends kopf ends every task of its loop, so each controller has a loop of its own.
        self._loop, self._ended = asyncio.new_event_loop(), asyncio.Event()
        self._watching = Thread(target=self._watch, args=(settings.namespaces,), name="watches", daemon=True)
        self._watching.start()

    def end(self) -> None:
        """Stop everything; StageError where the watches had ended before."""
        was_watching = self._watching.is_alive()
        self._stop.set()
        self._controller.hurry()
        if was_watching:
            self._loop.call_soon_threadsafe(self._ended.set)
            self._watching.join(_GRACE_SECONDS)
        self._controller.close()
        if not was_watching:
            raise StageError("the watches ended by themselves")

    def _watch(self, namespaces: list[str]) -> None:
        asyncio.set_event_loop(self._loop)
        ready = asyncio.Event()
        enqueue = self._controller.workers.enqueue
        self._loop.run_until_complete(watch(enqueue, namespaces, self._ended, ready))
        self._loop.close()


def settings_for(namespace: str, prometheus_url: str) -> RegistrySettings:
    """Return the settings of a controller that is to be tried: it is less patient than one in production."""
    return RegistrySettings(
        namespaces=[namespace],
        leader_election=False,
        require_route_acceptance=False,
        workers=1,
        prometheus_url=prometheus_url,
        request_timeout_seconds=1.0,
        mlflow_poll_seconds=0.3,
        relist_seconds=3.0,
    )


class RealSchedule:
    """A scenario in bad weather on a real cluster.

    Args:
        seed: of the weather.
        scenario: what is played.
        baseline: what it leaves after each step in good weather.
        proxy: the controller's way to the API server.

    """

    def __init__(self, seed: int, scenario: Scenario, baseline: Baseline, proxy: Proxy) -> None:
        self._scenario, self._baseline, self._proxy = scenario, baseline, proxy
        chooser = random.Random(f"real {seed}")  # noqa: S311 - repeatable
        self.weather = Weather(chooser, chooser.choice((0.01, 0.03, 0.06)), chooser.choice((0.05, 0.2)))

    def play(self, cluster: Cluster, name: str, queries: QueryServer) -> list[str]:
        """Play it in a namespace; return what is wrong."""
        stage = ClusterStage(cluster, name, self._scenario, queries, None)
        witness = Invariants(cluster.api, cluster.namespace, name)
        self._proxy.weather[cluster.namespace] = self.weather
        settings = settings_for(cluster.namespace, queries.url)
        live = Live(settings, stage.models, Seam(name, witness))
        try:
            wrong = self._steps(stage)
        except HarnessError as error:
            wrong = [str(error)]
        finally:
            self._proxy.weather.pop(cluster.namespace, None)
            live.end()
            stage.clear()
        return [f"{self._scenario.name}: {line}" for line in (*witness.broken, *wrong)]

    def _steps(self, stage: ClusterStage) -> list[str]:
        steps = (*self._scenario.before, *self._scenario.steps)
        for number, (step, expected) in enumerate(zip(steps, self._baseline.states, strict=False)):
            self._proxy.weather[stage.cluster.namespace] = self.weather
            step.do(stage)
            missing = self._wait(stage, expected)
            if missing:
                return [f"step {number + 1}: {line}" for line in missing]
        return []

    def _wait(self, stage: ClusterStage, expected: FinalState) -> list[str]:
        """Wait until all is as it is without faults; return what is not. In the end the weather clears up."""
        began, missing = time.monotonic(), [""]
        while missing and time.monotonic() < began + _MOST_SECONDS:
            time.sleep(0.3)
            missing = differences(stage.state(), expected)
            if time.monotonic() > began + _STORM_SECONDS:
                self._proxy.weather.pop(stage.cluster.namespace, None)
        return missing
