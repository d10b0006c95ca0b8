"""A histogram that takes many values at once: prometheus_client's own takes one, and a batch has 100,000 scores.

It has no sum, as OpenMetrics asks of histograms with negative bounds: a sum that falls looks like a counter's reset.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

Key = tuple[str, str]


class ScoreHistogram(Collector):
    """Decision functions by model and version; any thread may call it."""

    def __init__(self, name: str, what: str, bounds: tuple[float, ...]) -> None:
        self._name = name
        self._what = what
        self._bounds = np.array(bounds)
        self._counts: dict[Key, NDArray[np.int64]] = {}
        self._lock = threading.Lock()

    def observe(self, model: str, version: str, scores: NDArray[np.float64]) -> None:
        """Count ``scores``."""
        key = (model, version)
        # side="left" puts a score equal to a bound into that bound's bucket: Prometheus' le.
        places = np.searchsorted(self._bounds, scores, side="left")
        counts = np.bincount(places, minlength=len(self._bounds) + 1)
        with self._lock:
            self._counts[key] = counts + self._counts.get(key, 0)

    def forget(self, model: str, version: str) -> None:
        """Drop the series of a version."""
        with self._lock:
            self._counts.pop((model, version), None)

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Name the metric, for the registry."""
        yield self._family()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Return the counts so far, as Prometheus wants them: cumulative."""
        family = self._family()
        names = [*(str(bound) for bound in self._bounds.tolist()), "+Inf"]
        with self._lock:
            series = [(key, np.cumsum(counts)) for key, counts in self._counts.items()]
        for key, cumulative in series:
            buckets = [(name, float(count)) for name, count in zip(names, cumulative, strict=True)]
            family.add_metric(list(key), buckets, None)
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._what, labels=["model", "model_version"])
