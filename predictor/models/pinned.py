"""Serving one version by default, whatever anybody writes anywhere: a pod of a revision."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from contract.errors import CorruptArtifact
from predictor.models.loaded_versions import LoadedVersions
from predictor.threads import Threads
from predictor.waiting import first_of
from store.errors import StoreError
from store.model_store import ModelStore
from store.served_version import ServedVersion

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 30.0


class PinnedVersion:
    """Has the pinned version loaded, and tries again while that fails.

    Args:
        models: where the digest is read from if none is demanded.
        loaded: loads it.
        threads: where the model store is read.
        model: the model's name.
        version: its version.
        digest: what its artefact's digest must be; None takes the one of its manifest.
        interval: seconds between the first two tries; twice as long after each, up to half a minute.

    """

    def __init__(
        self,
        models: ModelStore,
        loaded: LoadedVersions,
        threads: Threads,
        *,
        model: str,
        version: str,
        digest: str | None,
        interval: float,
    ) -> None:
        self._models = models
        self._loaded = loaded
        self._threads = threads
        self._model = model
        self._version = version
        self._digest = digest
        self._pauses = _pauses(interval)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to load, on the running event loop."""
        self._task = asyncio.ensure_future(self._pin())

    async def stop(self) -> None:
        """Try no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _pin(self) -> None:
        digest = self._digest or await self._digest_of_manifest()
        target = ServedVersion(self._model, self._version, digest, datetime.now(UTC))
        while self._loaded.default(self._model) is None:
            changed = self._loaded.changes.next()
            self._loaded.want({self._model: target})
            # Soon after a failure nothing is tried, so that nothing changes either: then it is wanted again.
            await first_of(changed, seconds=next(self._pauses))

    async def _digest_of_manifest(self) -> str:
        while True:
            try:
                manifest = await self._threads.store(self._models.manifest, self._model, self._version)
            except (StoreError, CorruptArtifact) as error:
                _log.error("version %s of model %s cannot be read: %s", self._version, self._model, error)
                await asyncio.sleep(next(self._pauses))
            else:
                return manifest.forest.digest


def _pauses(first: float) -> Iterator[float]:
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)
