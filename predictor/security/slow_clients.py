"""Bounds on what a connection may send before anybody is asked who it is: header bytes, header fields, time.

uvicorn with httptools bounds none of these: a request line or a header may grow forever, a connection that
sends nothing or a byte now and then is kept forever, and so is one that does not read its answer. This is its
protocol with bounds. A request that arrives in one piece, as nearly all do, costs a few comparisons; only what is not
complete after a piece is *watched*, with one timer.

It refuses with a problem document that has a request id of its own, and closes.

It upgrades to nothing. httptools takes whatever follows the headers of a request that asks for an upgrade for another
protocol's, so that uvicorn loses the body of a POST with ``Upgrade: h2c``, as Java's HttpClient sends it; here such a
request is parsed again without that wish.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from asyncio import TimerHandle
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from predictor.security.connection_limits import (
    BODY_TOO_SLOW,
    HEADERS_TOO_LARGE,
    HEADERS_TOO_SLOW,
    MALFORMED,
    NO_TUNNEL,
    TOO_MANY_CONNECTIONS,
    URL_TOO_LONG,
    ConnectionLimits,
    ConnectionRefusal,
    answer,
)
from predictor.security.events import NoEvents, SecurityEvents
from predictor.security.slow_readers import ReaderWatch
from predictor.security.upgrades import without_upgrade

_log = logging.getLogger(__name__)


class _TooMuch(Exception):
    """Stops the parser; what is refused is in the protocol."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds; :func:`bounded_protocol` makes the class for given limits."""

    # uvicorn's own attributes nearly fill what CPython keeps inline; beyond it every access would be slower.
    __slots__ = (
        "_began_at", "_empty_bytes", "_head_bytes", "_headed", "_is_deaf", "_is_watched", "_progress_at", "_reader", "_refused",
        "_step_bytes", "_timer",
    )  # fmt: skip

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()
    events: ClassVar[SecurityEvents] = NoEvents()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_watched = False
        self._is_deaf = False  # nothing that comes matters any more
        self._refused: ConnectionRefusal | None = None
        self._headed: list[tuple[bytes, bytes]] | None = None  # the headers of the newest request that has them all
        self._head_bytes = 0  # received since the head of the request began
        self._empty_bytes = 0  # received since the body last grew
        self._step_bytes = 0  # received since progress was noted
        self._began_at = 0.0
        self._progress_at = 0.0
        self._timer: TimerHandle | None = None
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
        limits = self.limits
        self._reader = ReaderWatch(self.loop, transport, seconds=limits.write_seconds, step_bytes=limits.step_bytes)
        # uvicorn waits for a first byte forever.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        super().connection_lost(exc)
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
        super().on_headers_complete()

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

    # Parsing

    def _parse(self, data: bytes) -> bool:
        """Feed the parser, and tell whether it can go on."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._parse_again(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._refused or MALFORMED)
            return False
        return True

    def _parse_again(self, rest: bytes) -> bool:
        """Parse the head of a request once more, without its wish to upgrade, and what follows it."""
        method = self.parser.get_method()
        if method == b"CONNECT":  # is itself the wish
            self._refuse(NO_TUNNEL)
            return False
        head = without_upgrade(method, self.url, self.parser.get_http_version(), self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        return self._parse(head + rest)

    def _stop(self, refusal: ConnectionRefusal) -> None:
        self._refused = refusal
        raise _TooMuch

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _should_upgrade(self) -> bool:
        """Keep uvicorn's hands off a request that wishes to upgrade, and is parsed again; it asks of no other."""
        return True

    # Watching

    def _is_in_body(self) -> bool:
        """Tell whether the headers of the newest request are complete, and its body is not."""
        return self._has_head() and self.cycle.more_body

    def _has_head(self) -> bool:
        # uvicorn makes a list for the headers of each request. The scope has it too, until an application replaces it.
        return self.cycle is not None and self._headed is self.headers

    def _is_complete(self) -> bool:
        """Tell whether no request has begun that is not complete."""
        return self.headers is None or (self._has_head() and not self.cycle.more_body)

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

    def _body_size(self) -> int:
        return len(self.cycle.body) if self._is_in_body() else 0

    def _arm(self) -> None:
        self._disarm()
        self._timer = self.loop.call_at(self._due_at(), self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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

    # Refusing

    def _refuse(self, refusal: ConnectionRefusal) -> None:
        """Say why, if there is nobody else whose answer that would garble, and end the connection."""
        self._is_deaf = True
        self._disarm()
        said = self._answer(refusal)
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and not self._is_in_body()):
            self._say(said)
        elif not self._is_in_body():
            # Requests before it are still to be answered; the last of them closes.
            cycle.keep_alive = False
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            # The application gets to know that its client is gone, and what it sends goes nowhere.
            cycle.disconnected = True
            cycle.message_event.set()
            self._say(said)

    def _say(self, said: bytes) -> None:
        # Closing at once, with bytes that nobody read, would reset the connection and lose the answer.
        self.flow.resume_reading()
        self.transport.write(said)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(self.limits.linger_seconds, self.transport.abort)

    def _answer(self, refusal: ConnectionRefusal) -> bytes:
        request_id = uuid.uuid4().hex
        self.events.refused(refusal.reason)
        _log.info("refused what a client sent", extra={"request_id": request_id, "reason": refusal.reason})
        return answer(refusal, request_id)


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
