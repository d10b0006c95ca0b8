"""The state of every rollout for Prometheus, told by the replica that leads and by no other.

A follower knows nothing of rollouts, and what a former leader knew is old: two replicas that each tell a phase would
contradict each other. So nothing of this is exposed unless this replica leads, and all of it is dropped when it no
longer does; its counters begin anew then, as after a restart. The series of a ServedModel go with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from registry.work_queue import Key

_OF = ("namespace", "served_model")


@dataclass(frozen=True)
class Serving:
    """The version that serves."""

    model: str
    version: str
    mlflow_version: str
    revision: str


@dataclass(frozen=True)
class Standing:
    """Where a rollout stands.

    Args:
        phase: of the rollout.
        weight: percent of requests for the candidate; None where there is none.
        gates: the state of each gate, by name.
        serving: the stable version; None where it is not known.

    """

    phase: str
    weight: int | None = None
    gates: Mapping[str, str] = field(default_factory=dict)
    serving: Serving | None = None


class RolloutMetrics(Collector):
    """What Prometheus is told of rollouts: nothing before `read`."""

    def __init__(self) -> None:
        self._is_leading: Callable[[], bool] = lambda: False
        self._unwritten: Callable[[], int] = lambda: 0
        self._lock = Lock()
        self._standings: dict[Key, Standing] = {}
        self._endings: Counter[tuple[Key, str, str]] = Counter()
        self._actions: Counter[tuple[Key, str, str]] = Counter()
        self._sources: dict[str, bool] = {}
        self._polled_at: float | None = None

    def read(self, is_leading: Callable[[], bool], unwritten: Callable[[], int]) -> None:
        """Take from these whether this replica writes, and how many notes wait for MLflow."""
        self._is_leading, self._unwritten = is_leading, unwritten

    def stands(self, key: Key, standing: Standing) -> None:
        """Note where a rollout stands."""
        with self._lock:
            self._standings[key] = standing

    def standing(self, key: Key) -> Standing | None:
        """Return where a rollout stood last."""
        with self._lock:
            return self._standings.get(key)

    def ended(self, key: Key, outcome: str, reason: str) -> None:
        """Count what became of a revision."""
        with self._lock:
            self._endings[key, outcome, reason] += 1

    def acted(self, key: Key, action: str, result: str) -> None:
        """Count what came of an action."""
        with self._lock:
            self._actions[key, action, result] += 1

    def answers(self, source: str, *, is_up: bool) -> None:
        """Note whether MLflow or Prometheus answered."""
        with self._lock:
            self._sources[source] = is_up

    def polled(self, at: float) -> None:
        """Note when MLflow last told its aliases, in seconds since 1970."""
        with self._lock:
            self._polled_at = at

    def gone(self, key: Key) -> None:
        """Drop all series of a ServedModel that is gone."""
        with self._lock:
            self._standings.pop(key, None)
            for counted in (self._endings, self._actions):
                for series in [series for series in counted if series[0] == key]:
                    del counted[series]

    def clear(self) -> None:
        """Drop everything: another replica tells it from now on."""
        with self._lock:
            for part in (self._standings, self._endings, self._actions, self._sources):
                part.clear()
            self._polled_at = None

    def describe(self) -> Iterable[Metric]:
        """Return no names: nothing else is in this registry."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield everything, where this replica leads."""
        if not self._is_leading():
            return
        unwritten = self._unwritten()
        with self._lock:
            found = [*self._of_rollouts(), *self._of_counters(), *self._of_mlflow(unwritten)]
        yield from found

    def _of_rollouts(self) -> Iterator[Metric]:
        phase = _gauge("phase", "1 for the phase in which a ServedModel is", "phase")
        weight = _gauge("candidate_weight_ratio", "Share of requests for the candidate; absent where there is none")
        gate = _gauge("gate_state", "1 for what a gate last said of the newest candidate", "gate", "state")
        serving = _gauge(
            "stable_version_info", "1 for the version that serves", "model", "version", "mlflow_version", "revision"
        )
        for key, standing in self._standings.items():
            of = [key.namespace, key.name]
            phase.add_metric([*of, standing.phase], 1)
            if standing.weight is not None:
                weight.add_metric(of, standing.weight / 100)
            for name, state in standing.gates.items():
                gate.add_metric([*of, name, state], 1)
            if standing.serving is not None:
                one = standing.serving
                serving.add_metric([*of, one.model, one.version, one.mlflow_version, one.revision], 1)
        yield from (phase, weight, gate, serving)

    def _of_counters(self) -> Iterator[Metric]:
        attempts = _counter("attempts", "Attempts that ended, by what became of the revision", "outcome", "reason")
        for (key, outcome, reason), count in self._endings.items():
            attempts.add_metric([key.namespace, key.name, outcome, reason], count)
        actions = _counter("actions", "RolloutActions that were taken up", "action", "result")
        for (key, action, result), count in self._actions.items():
            actions.add_metric([key.namespace, key.name, action, result], count)
        yield from (attempts, actions)

    def _of_mlflow(self, unwritten: int) -> Iterator[Metric]:
        up = GaugeMetricFamily(_named("source_up"), "1 while MLflow or Prometheus answers", labels=["source"])
        for source, is_up in sorted(self._sources.items()):
            up.add_metric([source], float(is_up))
        yield up
        yield GaugeMetricFamily(
            _named("write_back_pending"), "Notes on versions that wait to be written to MLflow", value=unwritten
        )
        if self._polled_at is not None:
            text = "When MLflow last told its aliases, in seconds since 1970"
            yield GaugeMetricFamily(_named("mlflow_last_poll_timestamp_seconds"), text, value=self._polled_at)


def _named(name: str) -> str:
    return f"telltale_registry_{name}"


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_named(name), text, labels=[*_OF, *labels])


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(_named(name), text, labels=[*_OF, *labels])
