"""The access log: one line of JSON for each request, in the form and the place of all other logs, for a microsecond.

Lines gather in memory and are written every 50 ms, at 64 KiB, and in the end. While standard error takes nothing they
stay in memory, up to a bound; beyond it they are dropped, counted, and the log says so as soon as it can.

Everything here belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from predictor.observability.access_line import (
    LOGGER,
    LONGEST_METHOD,
    LONGEST_PATH,
    Line,
    Notice,
    cut,
    shortened,
    without_surrogates,
)
from predictor.observability.log_stream import ATOMIC_BYTES, Lock, LogStream, handlers_lock
from predictor.observability.metrics import Metrics

Mode = Literal["all", "errors", "off"]

_INTERVAL_SECONDS = 0.05
_FLUSH_BYTES = 64 * 1024
_MOST_BYTES = 2 * 1024 * 1024
_CLOSING_SECONDS = 0.5
_NEWLINE = 0x0A


class AccessLog:
    """Writes a line for each request.

    Args:
        mode: which requests: all, those answered 4xx or 5xx, or none.
        output: the file descriptor to write to; standard error, where all logs go.
        lock: held while writing; None takes that of the root logger's handler for ``output``.
        now: seconds since 1970.

    """

    def __init__(
        self,
        *,
        mode: Mode = "all",
        output: int = 2,
        lock: Lock | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._least_status = {"all": 0, "errors": 400, "off": 1000}[mode]
        self._output = output
        self._lock = lock
        self._now = now
        self._encode_into = msgspec.json.Encoder().encode_into
        self._lines = bytearray()
        self._flush_at = _FLUSH_BYTES
        self._stream: LogStream | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._millisecond = -1
        self._time_text = ""
        self._unsaid = 0
        self.dropped = 0

    def start(self) -> None:
        """Begin to write; on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._stream = LogStream(self._output, self._lock or handlers_lock(self._output))
        self._arm()

    def stop(self) -> None:
        """Write what is left, for half a second at most if the stream is slow."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = None
        self._write(patience=_CLOSING_SECONDS)
        if self._lines:
            self._write()  # the notice that lines were dropped

    def expose(self, metrics: Metrics) -> None:
        """Show how many lines were dropped."""
        metrics.count("access_log_dropped", "Lines that the log's stream did not take in time.", lambda: self.dropped)

    def note(
        self,
        request_id: str,
        method: str,
        path: str,
        route: str,
        status: int,
        seconds: float,
        size: int,
        client: str | None,
        trace_id: str | None = None,
        span_id: str | None = None,
    ) -> None:
        """Log one request.

        Args:
            request_id: its id.
            method: as the client sent it.
            path: as the client sent it, decoded; a long one is cut.
            route: the template of the route that answered.
            status: of the answer.
            seconds: to the end of the answer.
            size: of the answer's body, in bytes.
            client: the client's address; none where it is empty.
            trace_id: of a request that is traced.
            span_id: of a request that is traced.

        """
        if status < self._least_status:
            return
        if len(self._lines) >= _MOST_BYTES:
            self._drop(1)
            return
        if len(path) > LONGEST_PATH or len(method) > LONGEST_METHOD:
            path, method = cut(path, LONGEST_PATH), cut(method, LONGEST_METHOD)
        self._add(
            Line(
                self._time(),
                "info",
                LOGGER,
                f"{method} {path} {status}",
                request_id,
                method,
                path,
                route,
                status,
                int(seconds * 1e6) / 1000,
                size,
                client or None,
                trace_id,
                span_id,
            )
        )
        if self._timer is None:
            self._arm()
        if len(self._lines) >= self._flush_at:
            self._write()

    def _add(self, line: Line) -> None:
        """Add a line, of bearable length and in UTF-8 whatever it holds."""
        lines = self._lines
        start = len(lines)
        try:
            self._encode_into(line, lines, start)
        except UnicodeEncodeError:
            self._encode_into(without_surrogates(line), lines, start)
        lines.append(_NEWLINE)
        if len(lines) - start > ATOMIC_BYTES:
            self._encode_into(shortened(line), lines, start)
            lines.append(_NEWLINE)

    def _time(self) -> str:
        """Return the time as all our logs have it; a busy server makes the text once for the lines of a millisecond."""
        millisecond = int(self._now() * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            at = datetime.fromtimestamp(millisecond // 1000, UTC).replace(microsecond=millisecond % 1000 * 1000)
            self._time_text = at.isoformat(timespec="milliseconds")
        return self._time_text

    def _arm(self) -> None:
        if self._loop is not None and self._lines:
            self._timer = self._loop.call_later(_INTERVAL_SECONDS, self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._write()
        self._arm()

    def _write(self, *, patience: float = 0.0) -> None:
        if self._stream is None:
            return
        lost = self._stream.write(self._lines, patience=patience)
        if lost:
            self._drop(lost)
        elif self._unsaid and not self._lines:
            text = f"{self._unsaid} lines of the access log were dropped, since standard error did not take them"
            self._unsaid = 0
            self._encode_into(Notice(self._time(), "warning", LOGGER, text), self._lines, 0)
            self._lines.append(_NEWLINE)
        # Not at every line while the stream takes nothing.
        self._flush_at = len(self._lines) + _FLUSH_BYTES

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self._unsaid += lines
