"""The predictor's Prometheus metrics: one object, passed to whoever counts something.

What every request counts is a tally (:mod:`.request_tally`, :mod:`.version_tally`); what happens now and then is an
ordinary counter or gauge; what others keep in their own integers is read when someone scrapes (:mod:`.readings`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from predictor.observability.readings import Read, Reading
from predictor.observability.request_tally import CallTally, RequestTally
from predictor.observability.security_metrics import SecurityMetrics
from predictor.observability.version_tally import VersionTallies

CONTENT_TYPE = CONTENT_TYPE_LATEST
_VERSION = ("model", "model_version")


class Metrics:
    """All metrics, in a registry of their own, so that two predictors in one process do not mix theirs.

    Args:
        clock: seconds that never go back; for the window of the flag rate.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.http = RequestTally()
        self.grpc = CallTally()
        self.versions = VersionTallies(clock)
        for tally in (self.http, self.grpc, self.versions):
            self.registry.register(tally)
        self.security = SecurityMetrics(self.registry)
        self.loaded_versions = self._gauge("loaded_versions", "Model versions in memory.")
        self.loaded_bytes = self._gauge("loaded_bytes", "Memory that the loaded forests take.")
        self.default_version = self._gauge("default_version", "1 for the version that is a model's default.", *_VERSION)
        self.load_failing = self._gauge("model_load_failing", "1 while a new default cannot be loaded.", "model")
        self.load_failures = self._counter("model_load_failures", "Loads that failed.", "model")
        self.kernel = self._gauge("kernel_info", "1 for the kernel that scores.", "kernel")
        self.batches = self._counter("ingest_batches", "Batches accepted.", "model")
        self.records = self._counter("ingest_records", "Records accepted.", "model")
        self.ingest_outcomes = self._counter("ingest_outcomes", "How ingests were answered.", "outcome")
        self.queue_depth = self._gauge("training_queue_depth", "Training jobs that wait or run; NaN while unknown.")
        self.store_up = self._gauge("store_up", "1 while the store answers.", "store")

    def forget_version(self, model: str, version: str) -> None:
        """Drop the series of a version that left memory, so that series do not pile up."""
        self.versions.forget(model, version)

    def count(self, name: str, what: str, read: Read, *, label: str | None = None) -> None:
        """Expose a counter ``telltale_{name}_total`` that is read at each scrape.

        Args:
            name: its name without prefix and suffix.
            what: its help text.
            read: returns it, or one for each value of ``label``; any thread may call it, and it never goes down.
            label: the label's name, where there is one.

        """
        self.registry.register(Reading("counter", f"telltale_{name}", what, read, label))

    def gauge(self, name: str, what: str, read: Read, *, label: str | None = None) -> None:
        """Expose a gauge ``telltale_{name}`` that is read at each scrape; as :meth:`count`, but it may go down."""
        self.registry.register(Reading("gauge", f"telltale_{name}", what, read, label))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format; any thread may call it."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"telltale_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"telltale_{name}", what, labels, registry=self.registry)
