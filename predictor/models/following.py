"""Following which versions are served by default, as the controller writes it into PostgreSQL.

PostgreSQL gone changes nothing that is loaded; it only leaves the follower without news.
"""

from __future__ import annotations

import asyncio
import logging

from predictor.models.loaded_versions import LoadedVersions
from predictor.threads import Threads
from store.errors import StoreUnavailable
from store.notifications import Notifications
from store.served_version import ServedVersion
from store.serving import SERVED_CHANNEL, ServedVersions

_log = logging.getLogger(__name__)


class ServedFollower:
    """Reads the default versions at every notification and every ``interval`` seconds, and has them loaded."""

    def __init__(
        self, served: ServedVersions, url: str, loaded: LoadedVersions, threads: Threads, *, interval: float
    ) -> None:
        self._served = served
        self._url = url
        self._loaded = loaded
        self._threads = threads
        self._interval = interval
        self._loop: asyncio.AbstractEventLoop | None = None
        self._notifications: Notifications | None = None

    def start(self) -> None:
        """Begin to follow, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._notifications = Notifications(self._url, SERVED_CHANNEL, self._read, interval=self._interval)
        self._notifications.start()

    async def stop(self) -> None:
        """Stop following."""
        if self._notifications is not None:
            await self._threads.store(self._notifications.stop)

    def _read(self, _payload: str | None) -> None:
        """Read what is served; called in the listener's thread."""
        try:
            served = self._served.all()
        except StoreUnavailable as error:
            _log.warning("which versions are served could not be read: %s", error)
            return
        self._hand_over(served)

    def _hand_over(self, served: dict[str, ServedVersion]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loaded.want, served)
