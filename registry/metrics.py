"""The controller's metrics: an object that is passed to what it measures.

What is here is of this process, and every replica tells its own; what is of rollouts the leading one tells alone, see
:mod:`registry.rollout_metrics`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from registry.rollout_metrics import RolloutMetrics

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)


class RegistryMetrics:
    """What Prometheus is told.

    It is made before all that it measures: `read` tells where the rest is read.

    Args:
        spans: what became of spans, by outcome.
        clock: seconds since 1970.

    """

    def __init__(
        self,
        *,
        spans: Callable[[], Mapping[str, int]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry, self._clock = CollectorRegistry(), clock
        self.rollouts = RolloutMetrics()
        self._registry.register(self.rollouts)
        ProcessCollector(registry=self._registry)
        self._reconciles = self._seconds("reconcile_seconds", "Time of one look at a ServedModel", "result")
        self._calls = self._count("api_calls_total", "Requests to the API server", "verb", "resource", "code")
        self._call_seconds = self._seconds("api_call_seconds", "Time of a request to the API server", "verb")
        self._source_seconds = self._seconds("source_seconds", "Time of a call to a source", "source", "call")
        self._source_failures = self._count(
            "source_failures_total", "Calls to MLflow or Prometheus that it did not answer", "source", "call"
        )
        self._leadership = self._count(
            "leadership_changes_total", "How often this replica began to lead, and ceased to", "change"
        )
        for change in ("gained", "lost"):
            self._leadership.labels(change)
        if spans is not None:
            self._registry.register(_Spans(spans))

    def read(
        self,
        *,
        queue_depth: Callable[[], float],
        is_leading: Callable[[], bool],
        silence: Callable[[], float],
        unwritten: Callable[[], int],
    ) -> None:
        """Expose what others know at the moment.

        Args:
            queue_depth: how many ServedModels wait.
            is_leading: whether this replica writes.
            silence: for how many seconds the most silent of the loops has been so.
            unwritten: how many notes wait for MLflow.

        """
        self.rollouts.read(is_leading, unwritten)
        self._gauge("queue_depth", "ServedModels that are due and not being looked at", queue_depth)
        self._gauge("leading", "1 on the replica that writes", lambda: float(is_leading()))
        self._gauge("last_reconcile_age_seconds", "Time since the most silent of the loops went round", silence)

    def reconciled(self, result: str, seconds: float) -> None:
        """Count a look: done, conflict, not_leading, unavailable, refused or failed."""
        self._reconciles.labels(result).observe(seconds)

    def called(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count a request to the API server."""
        self._calls.labels(verb, resource, str(code)).inc()
        self._call_seconds.labels(verb).observe(seconds)

    def asked(self, source: str, call: str, seconds: float, *, is_up: bool) -> None:
        """Count a call to MLflow or Prometheus, and whether it answered."""
        self._source_seconds.labels(source, call).observe(seconds)
        if not is_up:
            self._source_failures.labels(source, call).inc()
        self.rollouts.answers(source, is_up=is_up)

    def polled(self) -> None:
        """Note that MLflow has told its aliases just now."""
        self.rollouts.polled(self._clock())

    def leads(self, leading: bool) -> None:
        """Count that this replica begins to lead, or no longer does."""
        self._leadership.labels("gained" if leading else "lost").inc()
        self.rollouts.clear()

    def exposition(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return generate_latest(self._registry)

    def _seconds(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(_named(name), text, labels, registry=self._registry, buckets=_SECONDS)

    def _count(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(_named(name), text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        Gauge(_named(name), text, registry=self._registry).set_function(read)


class _Spans(Collector):
    """What became of spans."""

    def __init__(self, outcomes: Callable[[], Mapping[str, int]]) -> None:
        self._outcomes = outcomes

    def collect(self) -> list[Metric]:
        found = CounterMetricFamily(_named("spans"), "Spans handed to the exporter, by outcome", labels=["outcome"])
        for outcome, count in self._outcomes().items():
            found.add_metric([outcome], count)
        return [found]


def _named(name: str) -> str:
    return f"telltale_registry_{name}"
