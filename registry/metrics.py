"""The controller's metrics: an object that is passed to what it measures."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from registry.work_queue import Key

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RegistryMetrics:
    """What Prometheus is told.

    Args:
        queue_depth: how many ServedModels wait.
        is_leading: whether this replica writes.
        age_of_last_look: seconds since the loop last went round.

    """

    def __init__(
        self, queue_depth: Callable[[], float], is_leading: Callable[[], bool], age_of_last_look: Callable[[], float]
    ) -> None:
        self._registry = CollectorRegistry()
        self._phases: dict[Key, str] = {}
        self._lock = Lock()
        self._reconciles = Histogram(
            "telltale_registry_reconcile_seconds",
            "Time of one look at a ServedModel",
            ["result"],
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._calls = Counter(
            "telltale_registry_api_calls_total",
            "Requests to the API server",
            ["verb", "resource", "code"],
            registry=self._registry,
        )
        self._call_seconds = Histogram(
            "telltale_registry_api_call_seconds",
            "Time of a request to the API server",
            ["verb"],
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._phase = Gauge(
            "telltale_registry_phase",
            "1 for the phase in which a ServedModel is",
            ["namespace", "served_model", "phase"],
            registry=self._registry,
        )
        self._gauge("queue_depth", "ServedModels that are due and not being looked at", queue_depth)
        self._gauge("leading", "1 on the replica that writes", lambda: float(is_leading()))
        self._gauge("last_reconcile_age_seconds", "Time since the loop last went round", age_of_last_look)

    def reconciled(self, result: str, seconds: float) -> None:
        """Count a look: done, conflict, unavailable, refused or failed."""
        self._reconciles.labels(result).observe(seconds)

    def called(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count a request to the API server."""
        self._calls.labels(verb, resource, str(code)).inc()
        self._call_seconds.labels(verb).observe(seconds)

    def phase(self, key: Key, phase: str | None) -> None:
        """Note a ServedModel's phase, or that it is gone."""
        with self._lock:
            former = self._phases.get(key)
            if former == phase:
                return
            if former is not None:
                self._phase.remove(key.namespace, key.name, former)
            if phase is None:
                self._phases.pop(key, None)
            else:
                self._phases[key] = phase
                self._phase.labels(key.namespace, key.name, phase).set(1)

    def exposition(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        Gauge(f"telltale_registry_{name}", text, registry=self._registry).set_function(read)
