"""Making an input that breaks something smaller, where no library does it: by leaving pieces out, ever smaller ones.

The method is delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002), its
half that reduces to complements, with a bound on its time.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import time
from collections.abc import Callable

_TRY_SECONDS = 10
_STANDARD_ERROR = 2


def smaller(data: bytes, fails: Callable[[bytes], bool], *, seconds: float) -> bytes:
    """Return the smallest input found that still ``fails``, after at most about ``seconds``."""
    until = time.monotonic() + seconds
    size = max(1, len(data) // 2)
    while size >= 1 and time.monotonic() < until:
        start, shrunk = 0, False
        while start < len(data) and time.monotonic() < until:
            candidate = data[:start] + data[start + size :]
            if fails(candidate):
                data, shrunk = candidate, True
            else:
                start += size
        if size == 1 and not shrunk:
            break
        size = size if shrunk and size == 1 else size // 2 or 1
    return data


def fails_in_child(function: Callable[[bytes], object], data: bytes) -> str:
    """Return how ``function`` ends on ``data`` in a copy of this process: empty if well, else an error or a signal."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            _tell_how_it_ends(function, data, writer)
        finally:
            os._exit(0)  # whatever happens: nothing else of this process may go on twice
    os.close(writer)
    with os.fdopen(reader, "rb") as words:
        error = words.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else error


def _tell_how_it_ends(function: Callable[[bytes], object], data: bytes, writer: int) -> None:
    """Call ``function`` and write what it raised."""
    faulthandler.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_ERROR)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_TRY_SECONDS)
    try:
        function(data)
    except BaseException as error:  # noqa: BLE001 - a copy of the process whose only purpose is to see it
        os.write(writer, f"{type(error).__name__}: {error}"[:2000].encode(errors="replace"))
