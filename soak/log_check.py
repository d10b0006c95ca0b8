"""Reads the server's log while it is written, from a pipe, and checks every line of it.

A pipe, because a file of ten million lines would fill a disk, and shortening one that grows would lose lines. The
server must be able to write at any time, so reading goes on in a thread to the very end.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter

import msgspec

from fuzz.log_lines import is_about_the_server

_PIECE = 1 << 20
_ACCESS = "predictor.access"
_SHOWN = 400
_EXAMPLES = 5
# Beside those that tell how it starts and stops: what it does of its own accord.
_OF_ITS_OWN = re.compile(r"quotas (cannot be settled|are settled again)|the prediction log (waits|is written again)")
_DROPPED = re.compile(r"(\d+) lines of the access log were dropped")


class _Line(msgspec.Struct, gc=False):
    level: str
    logger: str
    message: str
    request_id: str = ""
    status: int = 0
    exc_info: str = ""


_decode = msgspec.json.Decoder(_Line).decode


class LogCheck:
    """Counts lines, and keeps those that should not be there. :meth:`take` belongs to one thread."""

    def __init__(self) -> None:
        self.lines = 0
        self.access: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.examples: list[str] = []
        self.notes: list[str] = []
        self.dropped = 0

    def take(self, line: bytes) -> None:
        """Check one line, without its newline."""
        self.lines += 1
        try:
            read = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._fault("a line that is no JSON", line)
            return
        if read.request_id and read.logger == _ACCESS:
            self.access[read.status] += 1
        elif not read.request_id:
            self._take_without_id(read, line)
        if read.exc_info:
            self._fault("a traceback", line)
        elif read.level in ("error", "critical"):
            self._fault("an error", line)

    def _take_without_id(self, read: _Line, line: bytes) -> None:
        dropped = _DROPPED.match(read.message) if read.logger == _ACCESS else None
        if dropped:
            self.dropped += int(dropped[1])
        elif _OF_ITS_OWN.match(read.message):
            self.notes.append(read.message)
        elif not is_about_the_server(read.logger, read.message):
            self._fault("a line without a request id", line)

    def _fault(self, kind: str, line: bytes) -> None:
        self.faults[kind] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(line[:_SHOWN].decode(errors="replace"))


class LogReader:
    """Has a thread check what comes out of a pipe.

    Args:
        pipe: its reading end, which is closed in the end.
        check: what lines are given to.

    """

    def __init__(self, pipe: int, check: LogCheck) -> None:
        self._pipe = pipe
        self._check = check
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def finish(self, within: float) -> bool:
        """Wait until everybody who could write has gone; False if that takes too long."""
        self._thread.join(within)
        return not self._thread.is_alive()

    def _run(self) -> None:
        rest = b""
        take = self._check.take
        while data := os.read(self._pipe, _PIECE):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                take(line)
        if rest:
            take(rest)
        os.close(self._pipe)
