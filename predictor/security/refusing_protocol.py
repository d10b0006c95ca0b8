"""A connection that can be refused: what is known of its newest request, and how an end is put to it.

It is uvicorn's protocol, which parses with httptools, made ready for bounds: whoever finds that one is passed calls
``_refuse``, or ``_stop`` from within the parser. The answer is a problem document with a request id of its own, and the
connection closes.

It upgrades to nothing. httptools takes whatever follows the headers of a request that asks for an upgrade for another
protocol's, so that uvicorn loses the body of a POST with ``Upgrade: h2c``, as Java's HttpClient sends it; here such a
request is parsed again without that wish.
"""

from __future__ import annotations

import logging
import uuid
from asyncio import TimerHandle
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from predictor.security.connection_limits import MALFORMED, NO_TUNNEL, ConnectionLimits, ConnectionRefusal, answer
from predictor.security.events import NoEvents, SecurityEvents
from predictor.security.upgrades import without_upgrade

_log = logging.getLogger(__name__)


class _TooMuch(Exception):
    """Stops the parser; what is refused is in the protocol."""


class RefusingProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with refusals."""

    # uvicorn's own attributes nearly fill what CPython keeps inline; beyond it every access would be slower.
    __slots__ = ("_headed", "_is_deaf", "_refused", "_timer")

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()
    events: ClassVar[SecurityEvents] = NoEvents()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_deaf = False  # nothing that comes matters any more
        self._refused: ConnectionRefusal | None = None
        self._headed: list[tuple[bytes, bytes]] | None = None  # the headers of the newest request that has them all
        self._timer: TimerHandle | None = None

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

    def _should_upgrade(self) -> bool:
        """Keep uvicorn's hands off a request that wishes to upgrade, and is parsed again; it asks of no other."""
        return True

    # The newest request

    def _is_in_body(self) -> bool:
        """Tell whether the headers of the newest request are complete, and its body is not."""
        return self._has_head() and self.cycle.more_body

    def _has_head(self) -> bool:
        # uvicorn makes a list for the headers of each request. The scope has it too, until an application replaces it.
        return self.cycle is not None and self._headed is self.headers

    def _is_complete(self) -> bool:
        """Tell whether no request has begun that is not complete."""
        return self.headers is None or (self._has_head() and not self.cycle.more_body)

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
            cycle.waiting_for_100_continue = False
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

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
