"""Telling those who wait for a batch that something may have happened to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from predictor.threads import Threads
from store.ingest_log import BATCHES_CHANNEL
from store.notifications import Notifications


class BatchWatch:
    """Sets the events of those who wait: at a notification about their batch, and every ``interval`` seconds anyway."""

    def __init__(self, url: str, threads: Threads, *, interval: float) -> None:
        self._url = url
        self._threads = threads
        self._interval = interval
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._notifications: Notifications | None = None

    def start(self) -> None:
        """Begin to listen, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._notifications = Notifications(self._url, BATCHES_CHANNEL, self._heard, interval=self._interval)
        self._notifications.start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._notifications is not None:
            await self._threads.store(self._notifications.stop)

    @contextmanager
    def of(self, batch_id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever the batch should be looked at again; the caller clears it."""
        event = asyncio.Event()
        self._waiting.setdefault(batch_id, set()).add(event)
        try:
            yield event
        finally:
            waiting = self._waiting[batch_id]
            waiting.discard(event)
            if not waiting:
                del self._waiting[batch_id]

    def _heard(self, batch_id: str | None) -> None:
        """Pass a notification on to the event loop; called in the listener's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.wake, batch_id)

    def wake(self, batch_id: str | None) -> None:
        """Set the events of those who wait for ``batch_id``, or of all."""
        chosen = list(self._waiting.values()) if batch_id is None else [self._waiting.get(batch_id, set())]
        for events in chosen:
            for event in events:
                event.set()
