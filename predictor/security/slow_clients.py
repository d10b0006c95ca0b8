"""Bounds on what a connection may send before anybody is asked who it is: header bytes, header fields, time.

uvicorn with httptools bounds none of these: a request line or a header may grow forever, a connection that
sends nothing or a byte now and then is kept forever, and so is one that does not read its answer. This is its
protocol with bounds. A request that arrives in one piece, as nearly all do, costs a few comparisons; only what is not
complete after a piece is *watched*, with one timer. How a connection is refused is :mod:`.refusing_protocol`'s.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from predictor.security.connection_limits import (
    BODY_TOO_SLOW,
    HEADERS_TOO_LARGE,
    HEADERS_TOO_SLOW,
    TOO_MANY_CONNECTIONS,
    URL_TOO_LONG,
    ConnectionLimits,
)
from predictor.security.events import NoEvents, SecurityEvents
from predictor.security.pipelining import PatientFlow
from predictor.security.refusing_protocol import RefusingProtocol
from predictor.security.slow_readers import ReaderWatch


class BoundedProtocol(RefusingProtocol):
    """uvicorn's protocol with bounds; :func:`bounded_protocol` makes the class for given limits."""

    __slots__ = (
        "_ahead", "_began_at", "_empty_bytes", "_head_bytes", "_is_watched", "_progress_at", "_reader", "_step_bytes",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_watched = False
        self._head_bytes = 0  # received since the head of the request began
        self._empty_bytes = 0  # received since the body last grew
        self._step_bytes = 0  # received since progress was noted
        self._began_at = 0.0
        self._progress_at = 0.0
        self._ahead: list[RequestResponseCycle] = []  # requests that others wait behind, or waited
        self._reader: ReaderWatch | None = None

    # What uvicorn and the transport call

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection, unless there are too many."""
        if len(self.connections) >= self.limits.connections:
            self.transport = transport
            self._is_deaf = True
            transport.write(self._answer(TOO_MANY_CONNECTIONS))
            transport.close()
            return
        super().connection_made(transport)
        self.flow = PatientFlow(transport, self.pipeline)
        limits = self.limits
        self._reader = ReaderWatch(self.loop, transport, seconds=limits.write_seconds, step_bytes=limits.step_bytes)
        # uvicorn waits for a first byte forever.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        super().connection_lost(exc)
        for cycle in self._ahead:  # uvicorn tells the newest request alone
            cycle.disconnected = not cycle.response_complete
            cycle.message_event.set()
        if self._reader is not None:
            self._reader.end()
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Parse what came; watch a request that is not complete after it."""
        self._unset_keepalive_if_required()
        if self._is_watched or self._is_deaf:
            self._receive_watched(data)
            return
        self._head_bytes = len(data)
        before = self.cycle
        if self._parse(data):
            # The usual case of _is_complete, without the call.
            cycle = self.cycle
            if cycle is None or cycle.more_body or self._headed is not self.headers:
                self._watch_unless_complete(follows_another=cycle is not before)

    def on_headers_complete(self) -> None:
        """Begin a request whose headers are within bounds."""
        limits = self.limits
        if len(self.url) > limits.url_bytes:
            self._stop(URL_TOO_LONG)
        if len(self.headers) > limits.header_fields or (
            self._head_bytes > limits.header_bytes and self._size_of_head() > limits.header_bytes
        ):
            self._stop(HEADERS_TOO_LARGE)
        self._headed = self.headers
        before = self.cycle
        super().on_headers_complete()
        if self.pipeline:
            self._ahead.append(before)
        elif self._ahead:
            self._ahead.clear()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose answer still waits for its client would not close by itself."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        """Give the client a time to read."""
        super().pause_writing()
        if self._reader is not None:
            self._reader.pause()

    def resume_writing(self) -> None:
        """Note that the client reads."""
        super().resume_writing()
        if self._reader is not None:
            self._reader.resume()

    # Watching

    def _watch_unless_complete(self, *, follows_another: bool) -> None:
        """Watch the newest request; if it follows another in its piece, who knows how much of that is its own."""
        if self._is_complete():
            self._is_watched = False
            self._disarm()
            return
        self._is_watched = True
        self._began_at = self._progress_at = self.loop.time()
        self._empty_bytes = self._step_bytes = 0
        if follows_another:
            self._head_bytes = 0
        self._arm()
        self._check_sizes()

    def _receive_watched(self, data: bytes) -> None:
        if self._is_deaf:
            return
        before, was_in_body, had = self.headers, self._is_in_body(), self._body_size()
        self._head_bytes += len(data)
        if not self._parse(data):
            return
        if self.headers is before and self._is_in_body() and was_in_body:
            self._note_progress(len(data), has_grown=self._body_size() != had)
            self._check_sizes()
        elif self.headers is before and not self._has_head():
            self._check_sizes()
        else:
            self._watch_unless_complete(follows_another=self.headers is not before)

    def _note_progress(self, size: int, *, has_grown: bool) -> None:
        self._empty_bytes = 0 if has_grown or self.cycle.response_complete else self._empty_bytes + size
        self._step_bytes += size
        if self._step_bytes >= self.limits.step_bytes:
            self._step_bytes = 0
            self._progress_at = self.loop.time()

    def _check_sizes(self) -> None:
        limits = self.limits
        if self._is_in_body():
            is_over = self._empty_bytes > limits.header_bytes
        elif len(self.url) > limits.url_bytes:
            self._refuse(URL_TOO_LONG)
            return
        else:
            is_over = self._head_bytes > limits.header_bytes
        if is_over or len(self.headers) > limits.header_fields:
            self._refuse(HEADERS_TOO_LARGE)

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _body_size(self) -> int:
        return len(self.cycle.body) if self._is_in_body() else 0

    def _arm(self) -> None:
        self._disarm()
        self._timer = self.loop.call_at(self._due_at(), self._look)

    def _due_at(self) -> float:
        if self._is_in_body():
            return self._progress_at + self.limits.body_idle_seconds
        return self._began_at + self.limits.header_seconds

    def _look(self) -> None:
        """Refuse a request that comes too slowly."""
        if self.transport.is_closing():
            return
        # What we do not read at the moment cannot come; and a request that was answered before its end idles.
        if self.flow.read_paused or (self._is_in_body() and self.timeout_keep_alive_task is not None):
            self._progress_at = self._began_at = self.loop.time()
        if self.loop.time() < self._due_at():
            self._arm()
        else:
            self._refuse(BODY_TOO_SLOW if self._is_in_body() else HEADERS_TOO_SLOW)


def bounded_protocol(
    limits: ConnectionLimits | None = None, events: SecurityEvents | None = None
) -> type[HttpToolsProtocol]:
    """Return the protocol class for uvicorn's ``http`` setting, with these limits.

    Args:
        limits: the bounds.
        events: is told of every refusal: ``malformed_request``, ``request_timeout``, ``url_too_long``,
            ``headers_too_large``, ``too_many_connections``.

    """
    members = {"limits": limits or ConnectionLimits(), "events": events or NoEvents(), "__slots__": ()}
    return type("BoundedProtocol", (BoundedProtocol,), members)
