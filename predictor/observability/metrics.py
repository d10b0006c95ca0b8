"""The predictor's Prometheus metrics: one object, passed to whoever counts something."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from predictor.observability.score_histogram import ScoreHistogram

CONTENT_TYPE = CONTENT_TYPE_LATEST
# From a lone record (well below a millisecond) to an ingest that waits for its training.
_LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# The decision function lies within ±0.5 and turns anomalous below 0, where the buckets are finest.
_SCORES = (-0.4, -0.3, -0.2, -0.15, -0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
_VERSION = ("model", "model_version")


class Metrics:
    """All metrics, in a registry of their own, so that two predictors in one process do not mix theirs."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = self._counter("http_requests", "Requests.", "method", "route", "status")
        self.errors = self._counter("http_errors", "Requests answered 4xx or 5xx.", "route", "status")
        self.latency = self._histogram("http_request_seconds", "Time to the end of the answer.", _LATENCY, "route")
        self.score_requests = self._counter("score_requests", "Score requests by who answered.", *_VERSION)
        self.score_latency = self._histogram("score_seconds", "Time to score a request.", _LATENCY, *_VERSION)
        self.scored = self._counter("scored_records", "Records scored.", *_VERSION)
        self.flagged = self._counter("flagged_records", "Records found anomalous.", *_VERSION)
        self.scores = ScoreHistogram("telltale_anomaly_score", "Decision function of scored records.", _SCORES)
        self.registry.register(self.scores)
        self.loaded_versions = self._gauge("loaded_versions", "Model versions in memory.")
        self.loaded_bytes = self._gauge("loaded_bytes", "Memory that the loaded forests take.")
        self.default_version = self._gauge("default_version", "1 for the version that is a model's default.", *_VERSION)
        self.load_failing = self._gauge("model_load_failing", "1 while a new default cannot be loaded.", "model")
        self.load_failures = self._counter("model_load_failures", "Loads that failed.", "model")
        self.batches = self._counter("ingest_batches", "Batches accepted.", "model")
        self.records = self._counter("ingest_records", "Records accepted.", "model")
        self.ingest_outcomes = self._counter("ingest_outcomes", "How ingests were answered.", "outcome")
        self.queue_depth = self._gauge("training_queue_depth", "Training jobs that wait or run; NaN while unknown.")
        self.store_up = self._gauge("store_up", "1 while the store answers.", "store")

    def forget_version(self, model: str, version: str) -> None:
        """Drop the series of a version that left memory, so that series do not pile up."""
        for metric in (self.score_requests, self.score_latency, self.scored, self.flagged):
            metric.remove_by_labels({"model": model, "model_version": version})
        self.scores.forget(model, version)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"telltale_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"telltale_{name}", what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"telltale_{name}", what, labels, buckets=buckets, registry=self.registry)
