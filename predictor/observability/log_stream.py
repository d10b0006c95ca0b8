"""Lines into a stream that others write to as well, never torn, never mingled, and never waited for.

Each write ends with a line and is small enough for a pipe to take it whole (``PIPE_BUF``), happens only when the stream
says that it takes so much, and while the logging handler of the same stream is held, whose longer lines a full pipe may
take in parts.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import threading
import time
from typing import Protocol

# Linux's PIPE_BUF: a pipe takes so much in one piece, and poll() calls it writable when so much fits in.
ATOMIC_BYTES = 4096
# Nobody reads it any more, or its disk is full: a server goes on without its log.
_GONE = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF})


class Lock(Protocol):
    """What is held while a stream is written to; a :class:`threading.Lock`, say."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; False if it is taken and was not to be waited for."""

    def release(self) -> None:
        """Give it back."""


class LogStream:
    """A file descriptor.

    Args:
        output: its number.
        lock: held while writing.

    """

    def __init__(self, output: int, lock: Lock) -> None:
        self._output = output
        self._lock = lock
        self._poll = select.poll()
        self._poll.register(output, select.POLLOUT)

    def write(self, lines: bytearray, *, patience: float = 0.0) -> int:
        """Write what the stream takes within ``patience`` seconds, and remove it from ``lines``.

        Args:
            lines: whole lines, none longer than :data:`ATOMIC_BYTES`.
            patience: seconds; 0 writes what the stream takes at once.

        Returns:
            How many lines are lost, because nobody takes them any more.

        """
        deadline = time.monotonic() + patience
        if not (self._lock.acquire(timeout=patience) if patience else self._lock.acquire(blocking=False)):
            return 0
        try:
            return self._write(lines, deadline)
        finally:
            self._lock.release()

    def _write(self, lines: bytearray, deadline: float) -> int:
        written = lost = 0
        while written < len(lines) and self._takes_more(deadline):
            end = lines.rfind(b"\n", written, written + ATOMIC_BYTES) + 1
            try:
                written += os.write(self._output, lines[written:end])
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                lost = lines.count(b"\n", written)
                written = len(lines)
        del lines[:written]
        return lost

    def _takes_more(self, deadline: float) -> bool:
        return bool(self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def handlers_lock(output: int) -> Lock:
    """Return the lock of the root logger's handler that writes to ``output``; one of our own where none does."""
    for handler in logging.getLogger().handlers:
        if handler.lock is not None and _number_of(getattr(handler, "stream", None)) == output:
            return handler.lock
    return threading.Lock()


def _number_of(stream: object) -> int | None:
    """Return a stream's file descriptor; None if it has none."""
    fileno = getattr(stream, "fileno", None)
    try:
        return int(fileno()) if callable(fileno) else None
    except (OSError, ValueError):
        return None
