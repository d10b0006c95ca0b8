"""The parts that take long to import: PostgreSQL, the facade, the Open Inference Protocol, gRPC.

Imported and built in a thread while ``/score`` is answered already; see :mod:`predictor.composition`.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from predictor.early import Early
from predictor.facade.app import build_app
from predictor.facade.health import HealthService
from predictor.facade.routes import Ingestion, Services
from predictor.ingestion.batch_watch import BatchWatch
from predictor.ingestion.idempotency import IdempotentIngest
from predictor.ingestion.ingest_service import IngestService, Waits
from predictor.ingestion.reading_process import ReadingProcess
from predictor.models.catalog import Catalog
from predictor.models.following import ServedFollower
from predictor.observability.dependencies import DependencyWatch
from predictor.v2.inference import Inference
from predictor.v2.kserve_sdk import prepare
from predictor.v2.plane import Plane
from predictor.v2.rest import V2Rest
from predictor.v2.served_models import ServedModels
from store.ingest_log import IngestLog
from store.object_url import open_objects
from store.postgres import Postgres
from store.postgres_quotas import PostgresQuotas
from store.prediction_log import PredictionTable
from store.queue import TrainingQueue
from store.serving import ServedVersions

if TYPE_CHECKING:
    from predictor.v2.grpc_server import GrpcServer


_QUOTA_WAIT_SECONDS = 0.5
# Calls get an answer within milliseconds; what takes longer is a client that does not read.
_GRPC_GRACE_SECONDS = 1.0
# A gRPC connection lives for this share of the time to drain, so that after SIGTERM each one ends in time, one that is
# given to us in the first third of it as well.
_GRPC_TURN = 0.6


class LateParts:
    """The facade, the protocol over REST and gRPC, and everything that needs PostgreSQL."""

    def __init__(self, early: Early) -> None:
        settings = early.settings
        self._early = early
        self.reading = ReadingProcess(default_model=early.default_model)
        self._postgres = None
        if settings.database_url is not None:
            self._postgres = Postgres(settings.database_url, max_connections=settings.database_connections)
        self._follower: ServedFollower | None = None
        self._watch: BatchWatch | None = None
        self._quota_connection: Postgres | None = None
        ingestion = None
        if self._postgres is not None:
            ingestion = self._with_database(self._postgres)
        self._dependencies = DependencyWatch(self._postgres, early.objects, early.threads, early.metrics)
        self.health = HealthService(early.loaded, self._dependencies, self._waiting)
        services = Services(
            score=early.score,
            ingestion=ingestion,
            catalog=Catalog(early.models, early.reader, early.loaded, early.threads),
            health=self.health,
            dependencies=self._dependencies,
            metrics=early.metrics,
            max_body_bytes=settings.max_body_bytes,
        )
        self.facade: ASGIApp = build_app(
            services, limits=settings.limits, authenticates=early.security.authentication.is_required
        )
        inference = Inference(early.loaded, early.threads, early.recording, settings.limits)
        models = ServedModels(early.models, early.reader, early.loaded, early.threads)
        plane = _plane(inference, models, self.health)
        self.protocol = V2Rest(inference, plane)
        self._grpc = _grpc_server(early, inference, plane, self.health)
        self.grpc_port = 0

    async def start(self) -> None:
        """Connect, follow and listen; CannotListen if gRPC's port is taken."""
        if self._postgres is not None:
            self._postgres.open()
        self._share_quotas()
        for part in (self._follower, self._watch):
            if part is not None:
                part.start()
        settings = self._early.settings
        self.grpc_port = await self._grpc.start(f"{_bracketed(settings.host)}:{settings.grpc_port}")

    async def stop(self) -> None:
        """End what runs; connections to PostgreSQL stay for what still writes."""
        await self._grpc.stop(_GRPC_GRACE_SECONDS)
        parts = (self._follower, self._watch, self._dependencies)
        await asyncio.gather(*(part.stop() for part in parts if part is not None))

    async def close_stores(self) -> None:
        """Close the connections."""
        for postgres in (self._quota_connection, self._postgres):
            if postgres is not None:
                await self._early.threads.store(postgres.close)

    def _waiting(self) -> list[str]:
        """Return what readiness still waits for here."""
        waiting = [] if self.grpc_port else ["gRPC, to listen"]
        if self._early.frame.is_draining:
            waiting.append("nothing: the server is on its way out")
        return waiting

    def _share_quotas(self) -> None:
        """Lease quotas over a connection of their own, for which they never wait behind batches."""
        quotas, url = self._early.security.quotas, self._early.settings.database_url
        if quotas is not None and url is not None:
            self._quota_connection = Postgres(url, max_connections=1, wait_seconds=_QUOTA_WAIT_SECONDS)
            self._quota_connection.open()
            quotas.set(PostgresQuotas(self._quota_connection))

    def _with_database(self, postgres: Postgres) -> Ingestion:
        early, settings = self._early, self._early.settings
        url = postgres.url
        if not settings.pinned:
            self._follower = ServedFollower(
                ServedVersions(postgres), url, early.loaded, early.threads, interval=settings.follow_seconds
            )
        if early.prediction_table is not None:
            early.prediction_table.name(PredictionTable(postgres, retention_days=settings.prediction_log_days))
        self._watch = BatchWatch(url, early.threads, interval=settings.follow_seconds)
        objects = open_objects(settings.object_store)
        log = IngestLog(postgres, objects, TrainingQueue(postgres))
        service = IngestService(
            log,
            early.loaded,
            self._watch,
            early.threads,
            early.metrics,
            self.reading,
            limits=settings.limits,
            waits=Waits(settings.ingest_wait_seconds, settings.serve_wait_seconds, settings.ingest_sync_records),
            stopping=early.stopping,
        )
        return Ingestion(service, IdempotentIngest(service, log, early.threads))


def _plane(inference: Inference, models: ServedModels, health: HealthService) -> Plane:
    prepare()
    # Only now, or all of KServe's SDK would be imported with it.
    from predictor.v2.kserve_model import TelltaleDataPlane, TelltaleRepository  # noqa: PLC0415

    return TelltaleDataPlane(
        TelltaleRepository(inference, models), models, is_ready=health.is_ready, version=version("telltale")
    )


def _grpc_server(early: Early, inference: Inference, plane: Plane, health: HealthService) -> GrpcServer:
    from predictor.v2.grpc_calls import GrpcCalls  # noqa: PLC0415 - only now, as above
    from predictor.v2.grpc_observer import CallObserver  # noqa: PLC0415
    from predictor.v2.grpc_server import GrpcServer  # noqa: PLC0415

    settings = early.settings
    observer = CallObserver(early.metrics.grpc if settings.metrics else None, early.tracing)
    calls = GrpcCalls(inference, plane, early.security.gatekeeper, observer)
    return GrpcServer(
        calls,
        health.is_ready,
        max_message_bytes=settings.max_body_bytes,
        limits=settings.connection_limits,
        connection_seconds=_GRPC_TURN * settings.drain_seconds,
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
