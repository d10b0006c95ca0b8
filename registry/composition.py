"""Puts the controller together from its settings. Everything that writes is given one function to write by."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING

from registry.controller import Workers, join, repeat
from registry.effects import Effects
from registry.errors import KubernetesError
from registry.events import Recorder
from registry.gather import Gatherer
from registry.health import Health, HealthServer
from registry.kubernetes.api import KubernetesApi, connect
from registry.kubernetes.writes import Writes, fenced
from registry.leader import Leader, LeaseTerms
from registry.measuring import Measuring
from registry.metrics import RegistryMetrics
from registry.mlflow_registry import MlflowRegistry
from registry.notifications import Notifier
from registry.prometheus import Prometheus
from registry.reconciler import Reconciler
from registry.relist import Relist
from registry.resolving import ModelSource, Resolver
from registry.settings import RegistrySettings
from registry.tracing import Tracing
from registry.tracing_observer import Observer
from registry.tracing_sources import Calls, CarryingExecutor, ObservedModels
from registry.vitals import Vitals
from registry.work_queue import Key, WorkQueue
from registry.write_back import ModelNotes, WriteBack

if TYPE_CHECKING:
    from telemetry.pipeline import SpanPipeline

_log = logging.getLogger(__name__)

Wrap = Callable[[Writes], Writes]
_RETRY_SECONDS = 15.0
_WEBHOOK_THREADS = 4
# How long what a loop does between two signs of life may take: two requests to MLflow, of 20 s each at the longest,
# or a notification that is tried three times.
_LONGEST_STEP_SECONDS = 60.0
# The lease is let go of so soon although a worker may still be writing.
_SETTLE_SECONDS = 5.0
_SOON_SECONDS = 1.0


def now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Controller:
    """All parts of a controller, built and not yet started."""

    settings: RegistrySettings
    api: KubernetesApi
    queue: WorkQueue
    workers: Workers
    reconciler: Reconciler
    resolver: Resolver
    write_back: WriteBack
    notifier: Notifier
    relist: Relist
    leader: Leader | None
    metrics: RegistryMetrics
    vitals: Vitals
    executors: tuple[Executor, ...]
    prometheus: Prometheus | None
    wake: Event
    listed: Event
    tracing: Tracing

    def start(self, stop: Event) -> list[Thread]:
        """Start every thread but the watches'; they end after ``stop``."""
        settings = self.settings
        workers = self.workers.start(settings.workers)
        jobs: list[tuple[str, Callable[[], None]]] = [
            ("mlflow", lambda: repeat(self.poll, settings.mlflow_poll_seconds, stop, self._poll_beats)),
            ("relist", lambda: self.keep_looking(stop)),
            ("write-back", lambda: self.write_back.run(stop, _RETRY_SECONDS, self._beat("write-back", _RETRY_SECONDS))),
        ]
        for number in range(1, _WEBHOOK_THREADS + 1):
            beat = self._beat(f"webhooks-{number}", 0.0)
            jobs.append((f"webhooks-{number}", partial(self.notifier.run, stop, beat)))
        if self.leader is not None:
            leader = self.leader
            jobs.append(("lease", lambda: leader.run(stop, lambda: join(workers, _SETTLE_SECONDS))))
        threads = list(workers)
        for name, job in jobs:
            thread = Thread(target=job, name=name, daemon=True)
            thread.start()
            threads.append(thread)
        if self.leader is None:
            self.begin()
        return threads

    def is_leading(self) -> bool:
        """Tell whether this replica writes."""
        return self.leader is None or self.leader.is_leading()

    def poll(self) -> None:
        """Ask MLflow what moved."""
        if self.is_leading():
            self.resolver.poll(self._poll_beats)

    def _poll_beats(self) -> None:
        self._beat("mlflow", self.settings.mlflow_poll_seconds)()

    def _beat(self, loop: str, pause: float) -> Callable[[], None]:
        """Return how a loop gives a sign of life before it pauses for so long, or takes its next step."""
        return lambda: self.vitals.beat(loop, pause=pause + _LONGEST_STEP_SECONDS)

    def keep_looking(self, stop: Event) -> None:
        """List everything now and then, and at once when this replica begins to lead, until ``stop``."""
        pause = self.settings.relist_seconds
        while not stop.is_set():
            self.vitals.beat("relist", pause=pause)
            self.wake.wait(pause)
            self.wake.clear()
            pause = self.settings.relist_seconds
            if self.is_leading() and not stop.is_set():
                self.vitals.beat("relist", "listing everything")
                try:
                    self.relist.step()
                    self.listed.set()
                except KubernetesError as error:
                    _log.warning("the objects could not be listed: %s", error)
                    pause = _SOON_SECONDS

    def begin(self) -> None:
        """Begin to lead: look at everything, and go by nothing that was known when it led before."""
        self.listed.clear()
        self.resolver.forget_all()
        self.reconciler.forget_all()
        self.relist.forget()
        self.write_back.forget()
        self.wake.set()

    def lead(self, leading: bool) -> None:
        """Begin to lead, or leave everything to another replica."""
        self.metrics.leads(leading)
        self.tracing.forget_all()
        if leading:
            self.begin()
        else:
            self.queue.clear()
            self.write_back.forget()

    def health(self, waits_for: Callable[[], str | None]) -> HealthServer:
        """Return the server of its health and metrics; ``waits_for`` tells which watches are not open."""

        def alive() -> Health:
            loops = {
                loop: {"silent_seconds": round(seconds, 1), "doing": doing}
                for loop, (seconds, doing) in self.vitals.silences().items()
            }
            return Health(self.vitals.ailment(settings.stuck_after_seconds), {"loops": loops})

        def ready() -> Health:
            leading = self.is_leading()
            fault = waits_for()
            if fault is None and leading and not self.listed.is_set():
                fault = "it leads, and has not listed everything yet"
            return Health(fault, {"leading": leading})

        settings = self.settings
        return HealthServer(settings.health_host, settings.health_port, alive, ready, self.metrics.exposition)

    def hurry(self) -> None:
        """Let every thread notice that `stop` is set."""
        self.queue.close()
        self.write_back.wake()
        self.wake.set()

    def close(self) -> None:
        """Let go of connections, once the threads have ended."""
        for executor in self.executors:
            executor.shutdown(wait=False, cancel_futures=True)
        if self.prometheus is not None:
            self.prometheus.close()
        self.api.close()


def build(
    settings: RegistrySettings,
    *,
    source: ModelSource | None = None,
    notes: ModelNotes | None = None,
    wrap: Wrap = lambda write: write,
    clock: Callable[[], datetime] = now,
    spans: SpanPipeline | None = None,
) -> Controller:
    """Build a controller.

    Args:
        settings: what is set.
        source: where versions are read; None for MLflow.
        notes: where notes on versions are written; None for MLflow.
        wrap: put around the function that every write of a reconcile goes through; for tests.
        clock: the time of day.
        spans: the way to the collector; None sends no traces.

    """
    queue = WorkQueue(time.monotonic)
    vitals = Vitals(time.monotonic)
    metrics = RegistryMetrics(spans=None if spans is None else lambda: spans.outcomes)
    tracing = Tracing(spans)
    calls = Calls(metrics, tracing)
    api = KubernetesApi(
        connect(settings.request_timeout_seconds, connections=settings.workers * 6), calls.of_kubernetes
    )
    leader = _leader(settings, api, vitals, clock) if settings.leader_election else None
    is_leading = _always if leader is None else leader.is_leading
    write = wrap(fenced(api.write, is_leading))
    mlflow = None if source is not None and notes is not None else MlflowRegistry(settings.mlflow_tracking_uri)
    # Each source has threads of its own: one that hangs must not hold up the others.
    readers = CarryingExecutor(settings.workers * 4, thread_name_prefix="reads")
    lookers = CarryingExecutor(settings.workers, thread_name_prefix="mlflow")
    askers = CarryingExecutor(settings.workers * 2, thread_name_prefix="prometheus")
    models = ObservedModels(source or _given(mlflow), notes or _given(mlflow), calls)

    def notify(key: Key) -> None:
        tracing.has_found(key)
        workers.enqueue(key)

    resolver = Resolver(models, lookers, time.monotonic, patience=settings.mlflow_patience_seconds, notify=notify)
    prometheus = _prometheus(settings)
    gatherer = Gatherer(
        api,
        readers,
        resolver,
        Measuring(resolver, None if prometheus is None else prometheus.ask, askers, calls.of_gate),
        needs_acceptance=settings.require_route_acceptance,
    )
    write_back = WriteBack(models, is_leading)
    metrics.read(
        queue_depth=lambda: float(len(queue)),
        is_leading=is_leading,
        silence=vitals.age,
        unwritten=write_back.pending,
    )
    effects = Effects(write, write_back, clock)
    notifier = Notifier(api, time.monotonic)
    recorder = Recorder(write, settings.identity, clock)
    observer = Observer(metrics.rollouts, tracing, models)
    reconciler = Reconciler(gatherer, effects, resolver, recorder, notifier, clock, observer)
    workers = Workers(queue, reconciler, metrics, vitals, is_leading, tracing)
    controller = Controller(
        settings=settings,
        api=api,
        queue=queue,
        workers=workers,
        reconciler=reconciler,
        resolver=resolver,
        write_back=write_back,
        notifier=notifier,
        relist=Relist(api, settings.namespaces, workers.enqueue, lambda key: workers.enqueue(key, urgent=True)),
        leader=leader,
        metrics=metrics,
        vitals=vitals,
        executors=(readers, lookers, askers),
        prometheus=prometheus,
        wake=Event(),
        listed=Event(),
        tracing=tracing,
    )
    if leader is not None:
        leader.on_change(controller.lead)
    return controller


def _leader(settings: RegistrySettings, api: KubernetesApi, vitals: Vitals, clock: Callable[[], datetime]) -> Leader:
    terms = LeaseTerms(
        settings.lease_namespace,
        settings.lease_name,
        settings.lease_seconds,
        settings.lease_seconds - settings.fence_margin_seconds,
        settings.lease_renew_seconds,
    )
    return Leader(
        api,
        api.write,
        settings.identity,
        terms,
        monotonic=time.monotonic,
        wall=clock,
        beat=lambda: vitals.beat("lease", pause=terms.renew_seconds),
    )


def _always() -> bool:
    return True


def _given(mlflow: MlflowRegistry | None) -> MlflowRegistry:
    if mlflow is None:
        raise AssertionError("MLflow is used and was not opened")
    return mlflow


def _prometheus(settings: RegistrySettings) -> Prometheus | None:
    if settings.prometheus_url is None:
        return None
    token = settings.prometheus_token
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    return Prometheus(settings.prometheus_url, settings.prometheus_timeout_seconds, headers)
