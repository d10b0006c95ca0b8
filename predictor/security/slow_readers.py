"""Cuts clients off that do not read their answers: nothing else does, neither uvicorn nor TCP, which waits forever."""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle


class ReaderWatch:
    """Watches that what one connection has still to send shrinks.

    It looks when the transport says that too much waits, and now and then whether the connection is being closed: what
    waits then, however little, would hold it forever. At other times less than that is no harm.

    Args:
        loop: for timers.
        transport: what the answers wait in.
        seconds: in which at least ``step_bytes`` must be taken.
        step_bytes: see there.

    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, *, seconds: float, step_bytes: int
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._seconds = seconds
        self._step_bytes = step_bytes
        self._paused: TimerHandle | None = None
        self._closing = loop.call_later(seconds, self._look_at_closing, None)

    def pause(self) -> None:
        """Watch from now on: too much waits."""
        if self._paused is None:
            self._paused = self._loop.call_later(self._seconds, self._look_at_paused, self._waiting())

    def resume(self) -> None:
        """Watch no longer: it was taken."""
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None

    def end(self) -> None:
        """Watch nothing: the connection is gone."""
        self.resume()
        self._closing.cancel()

    def _waiting(self) -> int:
        return self._transport.get_write_buffer_size()

    def _has_stalled(self, before: int) -> bool:
        return self._waiting() > before - self._step_bytes

    def _look_at_paused(self, before: int) -> None:
        self._paused = None
        if self._has_stalled(before):
            self._transport.abort()
        else:
            self.pause()

    def _look_at_closing(self, before: int | None) -> None:
        if before is not None and self._has_stalled(before):
            self._transport.abort()
            return
        # While it is open, new answers come in as others go out: sizes would tell nothing.
        size = self._waiting() if self._transport.is_closing() else None
        self._closing = self._loop.call_later(self._seconds, self._look_at_closing, size)
