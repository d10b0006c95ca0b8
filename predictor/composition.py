"""The predictor's parts put together from its settings; nothing is opened before the application starts.

In two stages, so that a process answers ``/score`` within its first second: what scores is put together here, and what
takes longer to import (the facade, the whole protocol, gRPC, PostgreSQL) by :mod:`predictor.late_composition`, in a
thread, while requests are being answered already.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from contract.names import DEFAULT_MODEL
from predictor.early import Early
from predictor.errors import CannotListen
from predictor.hotpath.driver import Driver, DriverParts, InferenceProtocol
from predictor.hotpath.express_lane import ExpressLane
from predictor.hotpath.frame import Frame
from predictor.hotpath.late import Late
from predictor.hotpath.observer import RequestObserver
from predictor.hotpath.score_batch import BatchScoring
from predictor.hotpath.score_route import ScoreRoute
from predictor.models.loaded_versions import LoadedVersions
from predictor.models.pinned import PinnedVersion
from predictor.models.version_reader import VersionReader
from predictor.observability.access_log import AccessLog
from predictor.observability.metrics import Metrics
from predictor.observability.prediction_log import PredictionLog
from predictor.observability.recording import Recording
from predictor.observability.tracing import Tracing
from predictor.observability.tracing_config import TracingConfig
from predictor.security.composition import build_security
from predictor.security.cors import Cors
from predictor.settings import PredictorSettings
from predictor.threads import Threads
from scoring.kernel import kernel_name
from store.late_table import LateTable
from store.model_store import ModelStore
from store.object_url import open_objects
from telemetry.spans import is_asked_for

if TYPE_CHECKING:
    from predictor.late_composition import LateParts

_log = logging.getLogger(__name__)
_CLOSING_SECONDS = 2.5


class Predictor:
    """The application and its life.

    Args:
        early: what is there from the start.
        pinned: loads the pinned version, if one is.
        access_log: is flushed in the end.
        prediction_log: is flushed in the end.

    """

    def __init__(
        self,
        early: Early,
        pinned: PinnedVersion | None,
        access_log: AccessLog | None,
        prediction_log: PredictionLog | None,
    ) -> None:
        self.early = early
        self.failure: Exception | None = None
        self.on_failure: Callable[[], None] = _nothing
        self._pinned = pinned
        self._access_log = access_log
        self._prediction_log = prediction_log
        self._protocol: Late[InferenceProtocol] = Late()
        self.facade: Late[ASGIApp] = Late()
        self._late: LateParts | None = None
        self._building: asyncio.Task[None] | None = None
        self.express = ExpressLane(
            early.score, self._protocol, early.frame, max_body_bytes=early.settings.max_body_bytes
        )
        self.app: ASGIApp = Driver(
            DriverParts(
                early.score, self._protocol, self.facade, early.frame, early.settings.max_body_bytes, self._lifespan
            )
        )

    @property
    def loaded(self) -> LoadedVersions:
        """The versions in memory."""
        return self.early.loaded

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the server stops: what waits gives up."""
        return self.early.stopping

    @property
    def grpc_port(self) -> int:
        """The port that gRPC listens on; 0 before it does."""
        return self._late.grpc_port if self._late is not None else 0

    async def start(self) -> None:
        """Begin: load, and build what comes later."""
        if self._access_log is not None:
            self._access_log.start()
        if self.early.tracing is not None:
            self.early.tracing.start()
        if self._prediction_log is not None:
            self._prediction_log.start()
        if self._pinned is not None:
            self._pinned.start()
        self._building = asyncio.ensure_future(self._build())
        await self.early.security.start()

    async def stop(self) -> None:
        """End everything, within a bound: what hangs with a store is left behind, the process ends anyway."""
        self.early.stopping.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._stop_parts()
        if self._late is not None:
            self._late.reading.close()
        self.early.threads.close()
        if self._access_log is not None:
            self._access_log.stop()

    async def _stop_parts(self) -> None:
        if self._building is not None:
            self._building.cancel()
            await asyncio.gather(self._building, return_exceptions=True)
        if self._late is not None:
            await self._late.stop()
        if self._pinned is not None:
            await self._pinned.stop()
        await asyncio.gather(self.early.loaded.stop(), self.early.security.stop())
        if self._prediction_log is not None:
            await asyncio.to_thread(self._prediction_log.stop, seconds=1.5)
        if self._late is not None:
            await self._late.close_stores()
        if self.early.tracing is not None:
            await asyncio.to_thread(self.early.tracing.stop)

    async def _build(self) -> None:
        try:
            # Imported in a thread: it takes a second or two, and requests are being answered meanwhile.
            late = await asyncio.to_thread(import_module, "predictor.late_composition")
            parts: LateParts = await asyncio.to_thread(late.LateParts, self.early)
            self._late = parts
            await parts.start()
        except asyncio.CancelledError:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever it is, it ends the process
            self._fail(failure)
        else:
            self._protocol.set(parts.protocol)
            self.facade.set(parts.facade)

    def _fail(self, failure: Exception) -> None:
        """End the process: half a server would look ready to nobody and serve somebody."""
        if not isinstance(failure, CannotListen):
            _log.error("the server could not be built", exc_info=failure)
        self.failure = failure
        self._protocol.fail(failure)
        self.facade.fail(failure)
        self.on_failure()

    async def _lifespan(self, _scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def build(settings: PredictorSettings) -> Predictor:
    """Put a predictor together.

    Raises:
        StoreUnavailable: the model store's folder cannot be made.
        SecurityMisconfigured: the settings of authentication are unsafe or contradict each other.

    """
    objects = open_objects(settings.model_store_url)
    models = ModelStore(objects)
    threads = Threads()
    metrics = Metrics()
    metrics.kernel.labels(kernel_name()).set(1)
    reader = VersionReader(models)
    loaded = LoadedVersions(reader, threads, metrics, memory_bytes=settings.loaded_models_bytes)
    security = build_security(settings, metrics.security, shares_quotas=settings.database_url is not None)
    table = LateTable() if settings.prediction_log else None
    log = PredictionLog(table, capacity=settings.prediction_log_queue) if table is not None else None
    recording = Recording(metrics.versions, log)
    tracing = _tracing(settings)
    access_log = AccessLog(mode=settings.access_log) if settings.access_log != "off" else None
    for part in (log, tracing, access_log):
        if part is not None:
            part.expose(metrics)
    frame = Frame(
        security.gatekeeper, _observer(settings, metrics, access_log, tracing), Cors.of(settings.cors_origins)
    )
    default_model = settings.model or DEFAULT_MODEL
    batches = BatchScoring(loaded, threads, recording, settings.limits, default_model=default_model)
    score = ScoreRoute(loaded, batches, recording, settings.limits, default_model=default_model)
    early = Early(
        settings=settings,
        objects=objects,
        models=models,
        reader=reader,
        loaded=loaded,
        threads=threads,
        metrics=metrics,
        security=security,
        recording=recording,
        prediction_table=table,
        tracing=tracing,
        frame=frame,
        score=score,
        default_model=default_model,
    )
    return Predictor(early, _pinned(early), access_log, log)


def _tracing(settings: PredictorSettings) -> Tracing | None:
    if not is_asked_for(os.environ):
        return None
    return Tracing(TracingConfig(sample_ratio=settings.trace_sample_ratio, shutdown_seconds=0.8))


def _observer(
    settings: PredictorSettings, metrics: Metrics, access_log: AccessLog | None, tracing: Tracing | None
) -> RequestObserver | None:
    tally = metrics.http if settings.metrics else None
    if tally is None and access_log is None and tracing is None:
        return None
    return RequestObserver(tally, access_log, tracing)


def _pinned(early: Early) -> PinnedVersion | None:
    settings = early.settings
    if settings.model is None or settings.model_version is None:
        return None
    return PinnedVersion(
        early.loaded,
        model=settings.model,
        version=settings.model_version,
        digest=settings.artifact_digest,
        interval=settings.follow_seconds,
    )


def _nothing() -> None:
    """Do nothing."""
