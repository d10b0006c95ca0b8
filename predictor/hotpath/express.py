"""The express lane: a small hot request is answered where it was parsed.

uvicorn makes a task, a scope, a cycle and an event for each request, which costs more than to score a record. A small
request of a hot route, on a connection where nothing else is under way, needs none of them: :class:`Express` answers it
at once, in bytes, when its last piece is there. Whatever is not so, or turns out to have to wait, goes the ordinary
way, with what was found out about it already; so this changes how long an answer takes and nothing else.

A request whose body is still to come is kept for one more piece, since many clients write the head and the body apart.
Meanwhile the bounds on a body hold for it. What is not complete then goes the ordinary way, as does what comes slowly.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from predictor.hotpath.exchange import Headers
from predictor.security.connection_limits import ConnectionLimits, ConnectionRefusal
from predictor.security.events import SecurityEvents
from predictor.security.slow_clients import BoundedProtocol

# What is larger takes long enough that the ordinary way costs it little.
_MOST_BYTES = 16 * 1024


class Answered(Protocol):
    """What became of a request in the express lane."""

    @property
    def payload(self) -> bytes:
        """The whole answer, or nothing where the request must go the ordinary way."""

    @property
    def closes(self) -> bool:
        """Whether the connection ends with it."""

    @property
    def state(self) -> dict[str, Any]:
        """What the ordinary way is to know about the request."""


class Express(Protocol):
    """Answers requests at once."""

    def is_hot(self, target: bytes) -> bool:
        """Tell whether a POST to ``target`` may be answered here."""

    def answer(
        self, target: bytes, headers: Headers, body: bytes, client: str, default_headers: Headers, *, keep_alive: bool
    ) -> Answered:
        """Answer a request, or find that it must wait."""


class ExpressProtocol(BoundedProtocol):
    """uvicorn's protocol with bounds and an express lane; :func:`express_protocol` makes the class."""

    __slots__ = ("_hot_body", "_is_hot")

    express: ClassVar[Express]
    most_bytes: ClassVar[int] = _MOST_BYTES

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_hot = False
        self._hot_body = b""

    # What the parser calls. A connection that is deaf ends with an answer that is given already.

    def on_headers_complete(self) -> None:
        """Keep a request that may be answered at once; begin any other."""
        if self._is_deaf:
            return
        if self._may_be_hot():
            self._is_hot = True
            self._hot_body = b""
        else:
            self._begin()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        if self._is_hot:
            self._hot_body = self._hot_body + body if self._hot_body else body
        elif not self._is_deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer a request that was kept; any other goes on as ever."""
        if self._is_hot:
            self._answer_now()
        elif not self._is_deaf:
            super().on_message_complete()

    def shutdown(self) -> None:
        """Have a request under way answered before the connection closes."""
        if self._is_hot:
            self._go_the_ordinary_way()
        super().shutdown()

    def _parse(self, data: bytes) -> bool:
        was_kept = self._is_hot
        if not super()._parse(data) or self._is_deaf:
            return False
        if self._is_hot and (was_kept or not self._will_be_small()):
            self._go_the_ordinary_way()
        return True

    def _due_at(self) -> float:
        if self._is_hot:
            return self._progress_at + self.limits.body_idle_seconds
        return super()._due_at()

    def _look(self) -> None:
        """Leave a request that comes slowly to the ordinary way, which knows what to tell its client."""
        if self._is_hot and not self.transport.is_closing():
            self._go_the_ordinary_way()
        super()._look()

    def _refuse(self, refusal: ConnectionRefusal) -> None:
        self._is_hot = False
        super()._refuse(refusal)

    def _will_be_small(self) -> bool:
        """Tell whether the request under way says that it is small as a whole."""
        declared = next((value for name, value in self.headers if name == b"content-length"), b"")
        return declared.isdigit() and len(declared) < 6 and self._head_bytes + int(declared) <= self.most_bytes

    def _may_be_hot(self) -> bool:
        """Tell whether the request whose headers are complete is small so far, for a hot route, and alone."""
        cycle = self.cycle
        return (
            self._head_bytes <= self.most_bytes
            and not self._is_watched
            and (cycle is None or cycle.response_complete)
            and self.parser.get_method() == b"POST"
            and self.express.is_hot(self.url)
            and len(self.url) <= self.limits.url_bytes
            and len(self.headers) <= self.limits.header_fields
            and not self.expect_100_continue
            and not self.flow.write_paused
            and not self.parser.should_upgrade()
        )

    def _answer_now(self) -> None:
        client, parser = self.client, self.parser
        answered = self.express.answer(
            self.url,
            self.headers,
            self._hot_body,
            client[0] if client else "",
            self.server_state.default_headers,
            # uvicorn keeps no connection of HTTP/1.0, whose clients could not tell from an answer that it is kept.
            keep_alive=parser.should_keep_alive() and parser.get_http_version() != "1.0",
        )
        if not answered.payload:
            self.scope["state"].update(answered.state)
            self._go_the_ordinary_way()
            super().on_message_complete()
            return
        self._is_hot = False
        self.headers = None  # type: ignore[assignment]  # as before the first request: none is under way
        self._head_bytes = 0  # what follows in the piece is another request's
        self.server_state.total_requests += 1
        self.transport.write(answered.payload)
        if answered.closes:
            self._is_deaf = True
            self._disarm()
            self.transport.close()
        elif self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _begin(self) -> None:
        # A request before it in the same piece may have been answered here: the connection does not idle any more.
        self._unset_keepalive_if_required()
        super().on_headers_complete()

    def _go_the_ordinary_way(self) -> None:
        self._is_hot = False
        self._begin()
        if self._hot_body:
            super().on_body(self._hot_body)
        self._hot_body = b""


def express_protocol(express: Express, limits: ConnectionLimits, events: SecurityEvents) -> type[HttpToolsProtocol]:
    """Return the protocol class for uvicorn's ``http`` setting.

    Args:
        express: answers hot requests.
        limits: what a connection may send.
        events: is told of every refusal.

    """
    members = {
        "express": express,
        "limits": limits,
        "events": events,
        # The ordinary way measures heads exactly, so what might break their bound goes there.
        "most_bytes": min(_MOST_BYTES, limits.header_bytes),
        "__slots__": (),
    }
    return type("ExpressProtocol", (ExpressProtocol,), members)
