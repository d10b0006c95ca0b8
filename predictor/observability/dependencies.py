"""Whether the stores answer, looked at when someone asks and at most every few seconds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from predictor.facade.answers import Dependencies, Dependency
from predictor.observability.metrics import Metrics
from predictor.threads import Threads
from store.errors import StoreUnavailable
from store.objects import ObjectStore
from store.postgres import Postgres
from store.queue import depth

_FRESH_SECONDS = 3.0
# A health probe must not hang with a store that hangs.
_PATIENCE_SECONDS = 1.0
_SILENT = f"has not answered within {_PATIENCE_SECONDS:g} s"


class DependencyWatch:
    """Looks at PostgreSQL and the object store, and sets their metrics."""

    def __init__(self, postgres: Postgres | None, objects: ObjectStore, threads: Threads, metrics: Metrics) -> None:
        self._postgres = postgres
        self._objects = objects
        self._threads = threads
        self._metrics = metrics
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = -math.inf
        self._seen = Dependencies(Dependency(False, _SILENT), Dependency(False, _SILENT))

    async def look(self) -> Dependencies:
        """Return what the stores said, looking afresh if that was a while ago; takes a second at most."""
        now = asyncio.get_running_loop().time()
        if self._looking is None and now - self._looked_at >= _FRESH_SECONDS:
            self._looking = asyncio.ensure_future(self._look())
        if self._looking is not None:
            done, _ = await asyncio.wait([self._looking], timeout=_PATIENCE_SECONDS)
            if not done:
                return Dependencies(_silent(self._seen.postgres), self._seen.object_store)
        return self._seen

    async def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        try:
            # One after the other into what is seen, so that a store that hangs is not held against the other.
            objects = await self._threads.store(_state, self._ask_objects)
            self._seen = Dependencies(self._seen.postgres, objects)
            postgres = await self._threads.store(_state, self._ask_postgres)
            self._seen = Dependencies(postgres, objects)
            self._looked_at = asyncio.get_running_loop().time()
        finally:
            self._looking = None
        self._metrics.store_up.labels("postgres").set(postgres.ok)
        self._metrics.store_up.labels("object_store").set(objects.ok)
        if not postgres.ok:
            self._metrics.queue_depth.set(math.nan)

    def _ask_postgres(self) -> str:
        if self._postgres is None:
            return "none is configured, and none is needed to score"
        with self._postgres.transaction() as connection:
            waiting = depth(connection)
        self._metrics.queue_depth.set(waiting)
        return f"answers; {waiting} training jobs wait or run"

    def _ask_objects(self) -> str:
        self._objects.exists("models/health")
        return "answers"


def _state(ask: Callable[[], str]) -> Dependency:
    try:
        return Dependency(True, ask())
    except StoreUnavailable as error:
        return Dependency(False, str(error))


def _silent(last: Dependency) -> Dependency:
    return Dependency(False, last.detail if not last.ok else _SILENT)
