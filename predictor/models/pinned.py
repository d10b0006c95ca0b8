"""Serving one version by default, whatever anybody writes anywhere: a pod of a revision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

from predictor.models.loaded_versions import LoadedVersions
from predictor.waiting import first_of
from store.served_version import ServedVersion

_LONGEST_PAUSE = 30.0


class PinnedVersion:
    """Has the pinned version loaded, and tries again while that fails.

    Args:
        loaded: loads it, and keeps why it cannot.
        model: the model's name.
        version: its version.
        digest: what its artefact's digest must be; None takes any.
        interval: seconds between the first two tries; twice as long after each, up to half a minute.

    """

    def __init__(
        self, loaded: LoadedVersions, *, model: str, version: str, digest: str | None, interval: float
    ) -> None:
        self._loaded = loaded
        self._target = ServedVersion(model, version, digest, datetime.now(UTC))
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
        while self._loaded.default(self._target.model) is None:
            changed = self._loaded.changes.next()
            self._loaded.want({self._target.model: self._target})
            # Soon after a failure nothing is tried, so that nothing changes either: then it is wanted again.
            await first_of(changed, seconds=next(self._pauses))


def _pauses(first: float) -> Iterator[float]:
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)
