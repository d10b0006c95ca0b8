"""What a scraper reads: the text of /metrics, read back by Prometheus' own parser."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from predictor.observability.metrics import Metrics


def families(metrics: Metrics) -> dict[str, Metric]:
    """Return the metrics by name."""
    return {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return a series' value; None if there is no such series."""
    for family in families(metrics).values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def series(metrics: Metrics, name: str) -> list[dict[str, str]]:
    """Return the labels of all series of a name."""
    samples = [sample for family in families(metrics).values() for sample in family.samples]
    return [sample.labels for sample in samples if sample.name == name]
