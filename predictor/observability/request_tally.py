"""Requests, errors and latency, counted in plain integers: what a request costs is one look-up and two additions.

prometheus_client's own counters take a lock and a label look-up for each metric, several microseconds a request; here
the text is made when someone scrapes. The series are as many as the routes, never as what clients invent.

Notes belong to one thread, the event loop's, since ``+=`` on an integer is no atomic act; collecting is safe anywhere.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from predictor.observability.buckets import LATENCY_BOUNDS, added, cumulative

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "OTHER"
# Our routes times methods times statuses is far below; beyond it a caller passes paths for routes.
_MOST_SERIES = 2000
_EMPTY = (0,) * (len(LATENCY_BOUNDS) + 1)
Key = TypeVar("Key", bound=tuple[object, ...])


class Latencies:
    """A histogram of seconds: one count for each bucket, and the sum."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = list(_EMPTY)
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.seconds += seconds


class _Tally(Collector, Generic[Key]):
    """Latencies by key, from which everything else follows."""

    def __init__(self) -> None:
        self._series: dict[Key, Latencies] = {}

    def _made(self, key: Key, overflow: Key) -> Latencies:
        """Return the series of a key not seen before, or the common one when there are too many."""
        chosen = key if key in self._series or len(self._series) < _MOST_SERIES else overflow
        return self._series.setdefault(chosen, Latencies())

    def _now(self) -> list[tuple[Key, list[int], float]]:
        # Copies at once: the event loop goes on counting while another thread collects.
        return [(key, series.counts.copy(), series.seconds) for key, series in list(self._series.items())]


class RequestTally(_Tally[tuple[str, str, int]]):
    """Requests over HTTP, by method, route and status."""

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; on the event loop.

        Args:
            method: as the client sent it; what HTTP does not know is counted as OTHER.
            route: the template of the route that answered, never the path.
            status: of the answer; 0 if there was none.
            seconds: to the end of the answer.

        """
        series = self._series.get((method, route, status))
        if series is None:
            named = method if method in METHODS else OTHER
            series = self._made((named, route, status), (OTHER, OTHER, status))
        series.counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        series.seconds += seconds

    def describe(self) -> Iterator[Metric]:
        """Name the metrics, for the registry."""
        yield from self._families()

    def collect(self) -> Iterator[Metric]:
        """Return requests, errors and latency."""
        requests, errors, latency = self._families()
        failed: dict[tuple[str, str], int] = {}
        for (method, route, status), counts, _ in (now := self._now()):
            requests.add_metric([method, route, str(status)], sum(counts))
            if status >= 400:
                failed[route, str(status)] = failed.get((route, str(status)), 0) + sum(counts)
        for labels, count in failed.items():
            errors.add_metric(labels, count)
        _add_latency(latency, ((route, counts, seconds) for (_, route, _), counts, seconds in now))
        yield from (requests, errors, latency)

    def _families(self) -> tuple[CounterMetricFamily, CounterMetricFamily, HistogramMetricFamily]:
        return (
            CounterMetricFamily("telltale_http_requests", "Requests.", labels=("method", "route", "status")),
            CounterMetricFamily("telltale_http_errors", "Requests answered 4xx or 5xx.", labels=("route", "status")),
            HistogramMetricFamily("telltale_http_request_seconds", "Time to the end of the answer.", labels=("route",)),
        )


class CallTally(_Tally[tuple[str, str]]):
    """Calls over gRPC, by method and status code."""

    def note(self, method: str, code: str, seconds: float) -> None:
        """Count one call; on the event loop.

        Args:
            method: ``ModelInfer``, say; OTHER for one that the server does not have.
            code: the status code's name, such as ``OK`` or ``NOT_FOUND``.
            seconds: to the end of the answer.

        """
        series = self._series.get((method, code))
        if series is None:
            series = self._made((method, code), (OTHER, code))
        series.counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        series.seconds += seconds

    def describe(self) -> Iterator[Metric]:
        """Name the metrics, for the registry."""
        yield from self._families()

    def collect(self) -> Iterator[Metric]:
        """Return calls and latency."""
        calls, latency = self._families()
        now = self._now()
        for (method, code), counts, _ in now:
            calls.add_metric([method, code], sum(counts))
        _add_latency(latency, ((method, counts, seconds) for (method, _), counts, seconds in now))
        yield from (calls, latency)

    def _families(self) -> tuple[CounterMetricFamily, HistogramMetricFamily]:
        return (
            CounterMetricFamily("telltale_grpc_requests", "Calls over gRPC.", labels=("method", "code")),
            HistogramMetricFamily(
                "telltale_grpc_request_seconds", "Time to the end of a call's answer.", labels=("method",)
            ),
        )


def _add_latency(family: HistogramMetricFamily, series: Iterable[tuple[str, list[int], float]]) -> None:
    """Add one histogram for each label, over all series that have it."""
    sums: dict[str, tuple[list[int], float]] = {}
    for label, counts, seconds in series:
        before, total = sums.get(label, (list(_EMPTY), 0.0))
        sums[label] = added(before, counts), total + seconds
    for label, (counts, total) in sums.items():
        family.add_metric([label], cumulative(LATENCY_BOUNDS, counts), total)
