"""The predictor's parts put together from its settings; nothing is opened before the application starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from fastapi import FastAPI

from predictor.facade.app import build_app
from predictor.facade.health import HealthService
from predictor.facade.routes import Services
from predictor.hotpath.scoring_service import ScoringService
from predictor.ingestion.batch_watch import BatchWatch
from predictor.ingestion.idempotency import IdempotentIngest
from predictor.ingestion.ingest_service import IngestService, Waits
from predictor.ingestion.reading_process import ReadingProcess
from predictor.models.catalog import Catalog
from predictor.models.following import ServedFollower
from predictor.models.loaded_versions import LoadedVersions
from predictor.models.version_reader import VersionReader
from predictor.observability.dependencies import DependencyWatch
from predictor.observability.metrics import Metrics
from predictor.settings import PredictorSettings
from predictor.threads import Threads
from store.ingest_log import IngestLog
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from store.postgres import Postgres
from store.queue import TrainingQueue
from store.serving import ServedVersions

_CLOSING_SECONDS = 2.5


@dataclass(frozen=True)
class Predictor:
    """The application, and the event that tells its waiting requests that the server stops."""

    app: FastAPI
    stopping: asyncio.Event
    loaded: LoadedVersions


def build(settings: PredictorSettings) -> Predictor:
    """Put a predictor together.

    Raises:
        StoreUnavailable: the object store's folder cannot be made.

    """
    postgres = Postgres(settings.database_url, max_connections=settings.database_connections)
    objects = LocalObjectStore(settings.object_store_root)
    log = IngestLog(postgres, objects, TrainingQueue(postgres))
    models = ModelStore(objects)
    threads = Threads()
    metrics = Metrics()
    stopping = asyncio.Event()

    reader = VersionReader(models)
    loaded = LoadedVersions(reader, threads, metrics, memory_bytes=settings.loaded_models_bytes)
    url, interval = settings.database_url, settings.follow_seconds
    follower = ServedFollower(ServedVersions(postgres), url, loaded, threads, interval=interval)
    watch = BatchWatch(url, threads, interval=interval)
    dependencies = DependencyWatch(postgres, objects, threads, metrics)
    waits = Waits(settings.ingest_wait_seconds, settings.serve_wait_seconds, settings.ingest_sync_records)
    reading = ReadingProcess()
    ingest = IngestService(
        log, loaded, watch, threads, metrics, reading, limits=settings.limits, waits=waits, stopping=stopping
    )
    services = Services(
        scoring=ScoringService(loaded, threads, metrics, settings.limits),
        ingest=ingest,
        idempotent_ingest=IdempotentIngest(ingest, log, threads),
        catalog=Catalog(models, reader, loaded, threads),
        health=HealthService(loaded, dependencies),
        dependencies=dependencies,
        metrics=metrics,
        max_body_bytes=settings.max_body_bytes,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        postgres.open()
        follower.start()
        watch.start()
        try:
            yield
        finally:
            stopping.set()
            with suppress(TimeoutError):  # what hangs with a store is left behind, the process ends anyway
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await asyncio.gather(follower.stop(), watch.stop(), loaded.stop(), dependencies.stop())
                    await threads.store(postgres.close)
            reading.close()
            threads.close()

    return Predictor(build_app(services, lifespan=lifespan), stopping, loaded)
