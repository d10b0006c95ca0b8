"""Metrics that are read where they are kept: each is a function, called when someone scrapes.

So a part of the predictor counts in its own plain integers and knows no metrics library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

# A value, or one value for each value of the label.
Read = Callable[[], float | Mapping[str, float]]


@dataclass(frozen=True)
class Reading(Collector):
    """One metric.

    Args:
        kind: what type it is.
        name: without the suffix ``_total``.
        what: its help text.
        read: returns the value, or a mapping from the label's values; any thread may call it.
        label: the label's name, where ``read`` returns a mapping.

    """

    kind: Literal["counter", "gauge"]
    name: str
    what: str
    read: Read
    label: str | None = None

    def describe(self) -> Iterator[Metric]:
        """Name the metric, for the registry."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """Return what the function says now."""
        family = self._family()
        value = self.read()
        if isinstance(value, Mapping):
            for label, one in list(value.items()):
                family.add_metric([label], one)
        else:
            family.add_metric([], value)
        yield family

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        family = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        return family(self.name, self.what, labels=(self.label,) if self.label else ())
