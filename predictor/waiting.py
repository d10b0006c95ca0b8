"""Waiting for something to change, without polling and without missing a change."""

from __future__ import annotations

import asyncio


class Changes:
    """Wakes everyone who waits whenever something changed.

    Take :meth:`next` first, look at the state then, and wait last: a change in between is not missed.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def next(self) -> asyncio.Event:
        """Return the event that the next change sets."""
        return self._event

    def fire(self) -> None:
        """Say that something changed."""
        self._event.set()
        self._event = asyncio.Event()


async def first_of(*events: asyncio.Event, seconds: float) -> None:
    """Return when one of ``events`` is set or the time is over, whichever is first."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
