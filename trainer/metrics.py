"""The trainer's metrics for Prometheus: what this process did, and what the queue holds, read when someone scrapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from store.errors import StoreError
from trainer.vitals import BUCKETS, Vitals

# Several scrapers at once, or an eager one, should not cost the database a query each.
_FRESH_SECONDS = 3.0


class TrainerMetrics(Collector):
    """Reads the metrics of one worker process.

    Args:
        vitals: what it did.
        jobs: returns the number of jobs by state; StoreError while that cannot be known.
        clock: gives seconds that only grow.

    """

    def __init__(
        self,
        vitals: Vitals,
        jobs: Callable[[], Mapping[str, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vitals = vitals
        self._jobs = jobs
        self._clock = clock
        self._seen: Mapping[str, int] = {}
        self._seen_at = -_FRESH_SECONDS

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand, so that registering reads nothing."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return what holds now."""
        vitals = self._vitals
        jobs = GaugeMetricFamily(
            "telltale_trainer_jobs",
            "Jobs of the queue that all workers share, by state; none while PostgreSQL is away.",
            labels=["state"],
        )
        for state, count in self._counted().items():
            jobs.add_metric([state], count)
        yield jobs
        ended = CounterMetricFamily(
            "telltale_trainer_attempts",
            "How this worker's attempts went; an outage does not end one.",
            labels=["outcome"],
        )
        for outcome, count in vitals.outcomes.items():
            ended.add_metric([outcome], count)
        yield ended
        yield CounterMetricFamily(
            "telltale_trainer_takeovers", "Jobs of lost workers that this one gave back.", value=vitals.taken_over
        )
        yield self._durations()
        yield GaugeMetricFamily(
            "telltale_trainer_silence_seconds",
            "Seconds since the worker's event loop last turned.",
            value=vitals.silent_for(),
        )
        yield GaugeMetricFamily(
            "telltale_trainer_busy", "Whether this worker has a job.", value=float(vitals.doing is not None)
        )

    def _durations(self) -> HistogramMetricFamily:
        total = 0
        buckets = []
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], list(self._vitals.durations), strict=True):
            total += count
            buckets.append((bound, float(total)))
        return HistogramMetricFamily(
            "telltale_trainer_training_seconds",
            "How long trainings took that ended with a version.",
            buckets=buckets,
            sum_value=self._vitals.seconds,
        )

    def _counted(self) -> Mapping[str, int]:
        now = self._clock()
        if now - self._seen_at >= _FRESH_SECONDS:
            try:
                self._seen = self._jobs()
            except StoreError:
                self._seen = {}
            self._seen_at = now
        return self._seen


def exposition(metrics: TrainerMetrics) -> Callable[[], bytes]:
    """Return what gives the text that Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(metrics)
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
