"""What every request over HTTP gets, whatever answers it: an id, admission, CORS, metrics, a trace, a log line."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from starlette.types import Scope as AsgiScope
from starlette.types import Send

from contract import json_logs
from predictor.hotpath.admission import Admission, Admitted, RawHeaders
from predictor.hotpath.body import Body
from predictor.hotpath.exchange import Headers, Scope
from predictor.hotpath.request_ids import HEADER, RequestIds
from predictor.problems import Answer

if TYPE_CHECKING:
    from predictor.observability.spans import RequestSpan

_CLOSE = (b"connection", b"close")
# So much of a body that nobody wants is read, to keep the connection; a larger one closes it.
_SMALL_BODY = 64 * 1024
NO_ROUTE = "(none)"
# Where the ordinary way finds an exchange that the express lane began.
EXCHANGE = "telltale.exchange"
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Exchange:
    """One request and its answer so far."""

    __slots__ = (
        "client",
        "extra",
        "fields",
        "headers",
        "is_admitted",
        "method",
        "path",
        "query",
        "request_id",
        "route",
        "size",
        "span",
        "started_at",
        "status",
    )

    def __init__(self, method: str, path: str, query: bytes, headers: Headers, client: str, ids: RequestIds) -> None:
        self.started_at = time.perf_counter()
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.fields: dict[bytes, bytes] = dict(headers)
        self.client = client
        self.request_id = ids.take(self.fields.get(HEADER))
        self.route = NO_ROUTE
        self.is_admitted = False
        self.status = 0
        self.size = 0
        self.extra: RawHeaders = ()
        self.span: RequestSpan | None = None

    def authorization(self) -> bytes | None:
        """Return the Authorization header; of several, all in one, which is no token that anybody takes.

        To choose one would be to disagree, sooner or later, with a proxy that chose another.
        """
        given = self.fields.get(b"authorization")
        if given is None or len(self.fields) == len(self.headers):
            return given
        return b", ".join(value for name, value in self.headers if name == b"authorization")

    def declares_at_most(self, size: int) -> bool:
        """Tell whether the body, by its headers, has at most ``size`` bytes."""
        if b"transfer-encoding" in self.fields or b"expect" in self.fields:
            return False
        declared = self.fields.get(b"content-length", b"0")
        return declared.isdigit() and len(declared) < 20 and int(declared) <= size


class Observer(Protocol):
    """Takes note of requests: metrics, traces, the access log."""

    def begin(self, exchange: Exchange) -> None:
        """Note that a request begins; may give it a span."""

    def enter(self, exchange: Exchange) -> None:
        """Have what happens from here on belong to the request."""

    def end(self, exchange: Exchange, seconds: float) -> None:
        """Note that its answer is sent."""


class Cors(Protocol):
    """What browsers of other origins may do."""

    def headers(self, origin: bytes | None) -> RawHeaders:
        """Return the headers of an answer to ``origin``."""

    def preflight(self, method: str, fields: dict[bytes, bytes]) -> RawHeaders | None:
        """Return the headers that answer a preflight request; None if the request is none."""


class Frame:
    """Begins and ends exchanges.

    Args:
        admission: lets requests pass.
        observer: None where nothing is to be noted.
        cors: None where no other origin is allowed.

    """

    def __init__(self, admission: Admission, observer: Observer | None, cors: Cors | None) -> None:
        self._admission = admission
        self._observer = observer
        self._cors = cors
        self._ids = RequestIds()
        self.is_draining = False

    def drain(self) -> None:
        """Close each connection with its next answer, from now on."""
        self.is_draining = True

    def begin(self, scope: AsgiScope) -> Exchange:
        """Return the exchange of a new request; log lines carry its id from here on."""
        exchange: Exchange | None = scope["state"].pop(EXCHANGE, None)  # begun in the express lane
        if exchange is None:
            client = scope["client"]
            exchange = self.begin_plainly(
                scope["method"], scope["path"], scope["query_string"], scope["headers"], client[0] if client else ""
            )
        json_logs.request_id.set(exchange.request_id)
        if self._observer is not None:
            self._observer.enter(exchange)
        return exchange

    def begin_plainly(self, method: str, path: str, query: bytes, headers: Headers, client: str) -> Exchange:
        """Return the exchange of a new request, without a word to the logs."""
        exchange = Exchange(method, path, query, headers, client, self._ids)
        if self._observer is not None:
            self._observer.begin(exchange)
        return exchange

    def preflight(self, exchange: Exchange) -> Answer | None:
        """Return the answer to a browser's question whether it may ask; None if the request is another."""
        if self._cors is None or exchange.is_admitted:  # in the express lane, where this was asked first
            return None
        found = self._cors.preflight(exchange.method, exchange.fields)
        if found is None:
            exchange.extra = self._cors.headers(exchange.fields.get(b"origin"))
            return None
        exchange.extra = found
        return Answer(204, b"")

    async def admit(self, exchange: Exchange, scope: Scope | None) -> None:
        """Let the request pass, or raise why not."""
        if exchange.is_admitted or self.admit_quickly(exchange, scope):
            return
        admitted = await self._admission.full(exchange.authorization(), scope, exchange.client)
        self._note_admitted(exchange, admitted)

    def admit_quickly(self, exchange: Exchange, scope: Scope | None) -> bool:
        """Let the request pass, or raise why not; False if only :meth:`admit` can tell."""
        if scope is None:
            return True
        admitted = self._admission.quick(exchange.authorization(), scope, exchange.client)
        if admitted is None:
            return False
        self._note_admitted(exchange, admitted)
        return True

    def _note_admitted(self, exchange: Exchange, admitted: Admitted) -> None:
        exchange.is_admitted = True
        if admitted.headers:
            exchange.extra = (*exchange.extra, *admitted.headers)

    def head(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        """Return the headers that every answer carries."""
        head = [(HEADER, exchange.request_id.encode()), *exchange.extra]
        if self.is_draining:
            head.append(_CLOSE)
        return head

    def payload(self, exchange: Exchange, answer: Answer, default_headers: Headers, *, closes: bool) -> bytes:
        """Return a whole answer as HTTP/1.1 has it."""
        exchange.status = answer.status
        exchange.size = len(answer.body)
        lines = [STATUS_LINES[answer.status]]
        for name, value in default_headers:
            lines += (name, b": ", value, b"\r\n")
        lines.append(
            f"content-type: {answer.content_type}\r\ncontent-length: {exchange.size}\r\n"
            f"x-request-id: {exchange.request_id}\r\n".encode()
        )
        for name, value in exchange.extra:
            lines += (name, b": ", value, b"\r\n")
        if answer.headers:
            lines.append("".join(f"{name.lower()}: {value}\r\n" for name, value in answer.headers.items()).encode())
        lines += (b"connection: close\r\n\r\n" if closes else b"\r\n", answer.body)
        return b"".join(lines)

    async def send(self, exchange: Exchange, answer: Answer, body: Body, send: Send) -> None:
        """Send a whole answer; a request whose body was not read to its end closes its connection."""
        exchange.status = answer.status
        exchange.size = len(answer.body)
        headers = self.head(exchange)
        if answer.status != HTTPStatus.NO_CONTENT:  # which has no length either (RFC 9110, 8.6)
            headers = [
                (b"content-type", answer.content_type.encode()),
                (b"content-length", str(len(answer.body)).encode()),
                *headers,
            ]
        for name, value in answer.headers.items():
            headers.append((name.lower().encode(), value.encode()))
        if not body.is_complete and exchange.declares_at_most(_SMALL_BODY):
            await body.drop()  # at once, as a rule: so little came together with its headers
        if body.is_complete:
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})
            return
        if not self.is_draining:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await body.drop()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def end(self, exchange: Exchange) -> None:
        """Take note of the exchange."""
        if self._observer is not None:
            self._observer.end(exchange, time.perf_counter() - exchange.started_at)
