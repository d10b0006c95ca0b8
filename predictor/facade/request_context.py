"""What every request gets, whatever answers it: an id, a line in the access log, its metrics, and never a traceback."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract import json_logs
from predictor.errors import ShuttingDown
from predictor.observability.metrics import Metrics
from predictor.problems import Answer, answer_of

_access = logging.getLogger("predictor.access")
_log = logging.getLogger(__name__)

HEADER = "X-Request-Id"
LONGEST_ID = 128
# A method or path that a client invented must not become a series.
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
NO_ROUTE = "(none)"


@dataclass
class _Exchange:
    """One request and its answer so far."""

    scope: Scope
    request_id: str
    send: Send
    started_at: float
    status: int = 0
    size: int = 0
    complete: bool = False

    async def pass_on(self, message: Message) -> None:
        """Send a message of the answer, with the request's id in its headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[HEADER] = self.request_id
        elif message["type"] == "http.response.body":
            self.size += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        await self.send(message)

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.pass_on({"type": "http.response.start", "status": answer.status, "headers": raw})
        await self.pass_on({"type": "http.response.body", "body": answer.body})


class RequestContext:
    """ASGI middleware around everything that answers."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, request_id_of(scope), send, time.perf_counter())
        scope.setdefault("state", {})["request_id"] = exchange.request_id
        token = json_logs.request_id.set(exchange.request_id)
        try:
            await self._guarded(exchange, receive)
        finally:
            self._note(exchange)
            json_logs.request_id.reset(token)

    async def _guarded(self, exchange: _Exchange, receive: Receive) -> None:
        try:
            await self._app(exchange.scope, receive, exchange.pass_on)
        except asyncio.CancelledError:
            # Only a server that stops cancels requests: the time to finish them is over.
            if exchange.status:
                raise
            await exchange.answer(
                answer_of(ShuttingDown("the server is shutting down"), request_id=exchange.request_id)
            )
        except Exception as error:
            _log.exception("%s %s failed", exchange.scope["method"], exchange.scope["path"])
            if not exchange.status:
                await exchange.answer(answer_of(error, request_id=exchange.request_id))
            elif not exchange.complete:
                raise  # the answer broke off in the middle: only closing the connection tells the client

    def _note(self, exchange: _Exchange) -> None:
        scope = exchange.scope
        seconds = time.perf_counter() - exchange.started_at
        route = route_of(scope)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        status = str(exchange.status)
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.latency.labels(route).observe(seconds)
        if exchange.status >= 400:
            self._metrics.errors.labels(route, status).inc()
        client = scope.get("client")
        _access.info(
            "%s %s %d",
            scope["method"],
            scope["path"],
            exchange.status,
            extra={
                "method": scope["method"],
                "path": scope["path"],
                "route": route,
                "status": exchange.status,
                "duration_ms": round(seconds * 1000, 3),
                "bytes": exchange.size,
                "client": client[0] if client else None,
            },
        )


def request_id_of(scope: Scope) -> str:
    """Return the id that the client gave its request, if it is a sane one, else a new one."""
    given = Headers(scope=scope).get(HEADER, "")
    if 0 < len(given) <= LONGEST_ID and given.isascii() and given.isprintable():
        return given
    return uuid.uuid4().hex


def route_of(scope: Scope) -> str:
    """Return the template of the route that answered, such as ``/ingest/{job}``."""
    return str(getattr(scope.get("route"), "path", NO_ROUTE))
