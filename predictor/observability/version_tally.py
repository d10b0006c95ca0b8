"""What each model version scored: requests, latency, records, flagged records, and how the scores lie.

A lone record is noted on the event loop by plain additions. A batch is noted by whichever thread scored it, under a
lock and into counts of its own: so no thread ever adds to what another one adds to, and none loses a count.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from predictor.observability.buckets import LATENCY_BOUNDS, SCORE_BOUNDS, added, cumulative
from predictor.observability.request_tally import Latencies

_LABELS = ("model", "model_version")
# Below this many scores a loop is quicker than numpy's calls.
_FEW = 128
# The flag rate's window; a sum over all time would hide what changes now.
_WINDOW_SECONDS = 300.0
_LOOK_SECONDS = 15.0
# Versions that are dropped are forgotten; this only bounds what requests under way bring back after that.
_MOST_VERSIONS = 2000


class _Counts:
    """What one party counted of one version: the event loop, or the threads together."""

    __slots__ = ("flagged", "latencies", "scores")

    def __init__(self) -> None:
        self.latencies = Latencies()
        self.scores = [0] * (len(SCORE_BOUNDS) + 1)
        self.flagged = 0

    def add_scores(self, decision: NDArray[np.float64]) -> None:
        if len(decision) <= _FEW:
            for value in decision.tolist():
                self.scores[bisect_left(SCORE_BOUNDS, value)] += 1
                self.flagged += value < 0
            return
        # One comparison for each bound beats a search for each score five times over.
        below = [int(np.count_nonzero(decision <= bound)) for bound in SCORE_BOUNDS]
        within = (after - before for before, after in zip((0, *below), (*below, len(decision)), strict=True))
        self.scores = added(self.scores, tuple(within))
        self.flagged += int(np.count_nonzero(decision < 0))


class _Version:
    """The counts of one version, and how they stood at recent scrapes."""

    __slots__ = ("lone", "looks", "threads")

    def __init__(self) -> None:
        self.lone = _Counts()
        self.threads = _Counts()
        self.looks: deque[tuple[float, int, int]] = deque([(-_WINDOW_SECONDS, 0, 0)])


@dataclass(frozen=True)
class _Now:
    """One version's totals at a scrape."""

    labels: tuple[str, str]
    latencies: list[int]
    seconds: float
    scores: list[int]
    flagged: int
    flag_rate: float


class VersionTallies(Collector):
    """Counts by model and version.

    Args:
        clock: seconds that never go back; for the window of the flag rate.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._versions: dict[tuple[str, str], _Version] = {}
        self._lock = threading.Lock()

    def one(self, model: str, version: str, decision: float, seconds: float) -> None:
        """Count a request of one record; on the event loop."""
        found = self._versions.get((model, version))
        if found is None:
            found = self._made((model, version))
        counts = found.lone
        latencies = counts.latencies
        latencies.counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        latencies.seconds += seconds
        counts.scores[bisect_left(SCORE_BOUNDS, decision)] += 1
        if decision < 0.0:
            counts.flagged += 1

    def many(self, model: str, version: str, decision: NDArray[np.float64], seconds: float) -> None:
        """Count a request of any number of records; any thread may call it."""
        found = self._versions.get((model, version)) or self._made((model, version))
        with self._lock:
            found.threads.latencies.note(seconds)
            found.threads.add_scores(decision)

    def forget(self, model: str, version: str) -> None:
        """Drop the series of a version."""
        self._versions.pop((model, version), None)

    def describe(self) -> Iterator[Metric]:
        """Name the metrics, for the registry."""
        yield from _families()

    def collect(self) -> Iterator[Metric]:
        """Return the counts so far."""
        requests, latency, scored, flagged, scores, rate = families = _families()
        for now in self._now():
            requests.add_metric(now.labels, sum(now.latencies))
            latency.add_metric(now.labels, cumulative(LATENCY_BOUNDS, now.latencies), now.seconds)
            scored.add_metric(now.labels, sum(now.scores))
            flagged.add_metric(now.labels, now.flagged)
            # No sum: the scores have both signs, and a sum that falls looks like a counter's reset.
            scores.add_metric(now.labels, cumulative(SCORE_BOUNDS, now.scores), None)
            rate.add_metric(now.labels, now.flag_rate)
        yield from families

    def _made(self, key: tuple[str, str]) -> _Version:
        with self._lock:
            if len(self._versions) >= _MOST_VERSIONS:
                del self._versions[next(iter(self._versions))]
            return self._versions.setdefault(key, _Version())

    def _now(self) -> list[_Now]:
        at = self._clock()
        totals: list[_Now] = []
        for key, version in list(self._versions.items()):
            with self._lock:  # for one version at a time, so that a batch waits for microseconds at most
                totals.append(_totals(key, version, at))
        return totals


def _totals(labels: tuple[str, str], version: _Version, at: float) -> _Now:
    lone, threads = version.lone, version.threads
    scores = added(lone.scores.copy(), threads.scores)
    flagged = lone.flagged + threads.flagged
    return _Now(
        labels=labels,
        latencies=added(lone.latencies.counts.copy(), threads.latencies.counts),
        seconds=lone.latencies.seconds + threads.latencies.seconds,
        scores=scores,
        flagged=flagged,
        flag_rate=_flag_rate(version.looks, at, sum(scores), flagged),
    )


def _flag_rate(looks: deque[tuple[float, int, int]], at: float, scored: int, flagged: int) -> float:
    """Return the share of records flagged since the newest look that is a window old, or NaN if there were none."""
    if at - looks[-1][0] >= _LOOK_SECONDS:
        looks.append((at, scored, flagged))
    while len(looks) > 1 and looks[1][0] <= at - _WINDOW_SECONDS:
        looks.popleft()
    _, scored_before, flagged_before = looks[0]
    records = scored - scored_before
    return (flagged - flagged_before) / records if records else float("nan")


def _families() -> tuple[
    CounterMetricFamily,
    HistogramMetricFamily,
    CounterMetricFamily,
    CounterMetricFamily,
    HistogramMetricFamily,
    GaugeMetricFamily,
]:
    return (
        CounterMetricFamily("telltale_score_requests", "Score requests by who answered.", labels=_LABELS),
        HistogramMetricFamily("telltale_score_seconds", "Time to score a request.", labels=_LABELS),
        CounterMetricFamily("telltale_scored_records", "Records scored.", labels=_LABELS),
        CounterMetricFamily("telltale_flagged_records", "Records found anomalous.", labels=_LABELS),
        HistogramMetricFamily("telltale_anomaly_score", "Decision function of scored records.", labels=_LABELS),
        GaugeMetricFamily(
            "telltale_flag_rate", "Share of records found anomalous in the last five minutes.", labels=_LABELS
        ),
    )
