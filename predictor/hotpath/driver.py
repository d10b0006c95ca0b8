"""The server's outermost application: every request comes in here, and the hot routes are answered here.

What is hot (``/score``, the Open Inference Protocol) is a :class:`HotRoute`: a whole body in, a whole answer out, with
plain ASGI around it. Everything else goes on to the facade. What every request gets, whoever answers it, is
:mod:`.frame`'s.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from predictor.errors import ShuttingDown
from predictor.hotpath.body import Body
from predictor.hotpath.exchange import HttpRequest, Scope
from predictor.hotpath.frame import Exchange, Frame
from predictor.hotpath.late import Late
from predictor.hotpath.pass_through import pass_through
from predictor.problems import Answer, answer_of

_log = logging.getLogger(__name__)
_PROTOCOL_PATHS = ("/v2", "/v1/")


class HotRoute(Protocol):
    """A route that answers whole requests."""

    @property
    def template(self) -> str:
        """The path as metrics name it."""

    @property
    def scope(self) -> Scope | None:
        """What a token must hold."""

    def quick(self, request: HttpRequest) -> Answer | None:
        """Answer without waiting; None if that cannot be."""

    async def answer(self, request: HttpRequest) -> Answer:
        """Answer."""

    def error_answer(self, error: Exception, request_id: str) -> Answer:
        """Return what tells the client about ``error``, in the route's own form."""


class InferenceProtocol(Protocol):
    """The Open Inference Protocol over HTTP."""

    def route(self, method: str, path: str) -> HotRoute:
        """Return the route for a path below /v2 or /v1, one that refuses where there is none."""


@dataclass(frozen=True)
class DriverParts:
    """What the driver drives.

    Args:
        score: answers ``POST /score``.
        protocol: answers below /v2 and /v1, once it is built.
        facade: answers everything else, once it is built.
        frame: what every request gets.
        max_body_bytes: the largest body of a hot route.
        lifespan: handles ASGI's lifespan events.

    """

    score: HotRoute
    protocol: Late[InferenceProtocol]
    facade: Late[ASGIApp]
    frame: Frame
    max_body_bytes: int
    lifespan: ASGIApp


class Driver:
    """The application."""

    def __init__(self, parts: DriverParts) -> None:
        self._parts = parts
        self._frame = parts.frame
        self._score = parts.score

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._parts.lifespan(scope, receive, send)
            return
        exchange = self._frame.begin(scope)
        if exchange.path == "/score" and exchange.method == "POST":
            await self._hot(self._score, exchange, receive, send)
            return
        parts = self._parts
        try:
            protocol = parts.protocol.value or await parts.protocol.get()
            facade = parts.facade.value or await parts.facade.get()
        except (asyncio.CancelledError, RuntimeError):  # the log says why they are not built, and the process ends
            await self._end_unbuilt(exchange, receive, send)
            return
        if exchange.path.startswith(_PROTOCOL_PATHS):
            await self._hot(protocol.route(exchange.method, exchange.path), exchange, receive, send)
        else:
            await pass_through(facade, self._frame, exchange, scope, receive, send)

    async def _end_unbuilt(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        """Answer a request for what is not built and never will be."""
        answer = answer_of(ShuttingDown("the server is shutting down"), request_id=exchange.request_id)
        body = Body(receive, 0, exchange.fields.get(b"content-length"))
        try:
            await self._frame.send(exchange, answer, body, send)
        finally:
            self._frame.end(exchange)

    async def _hot(self, route: HotRoute, exchange: Exchange, receive: Receive, send: Send) -> None:
        frame = self._frame
        body = Body(receive, self._parts.max_body_bytes, exchange.fields.get(b"content-length"))
        exchange.route = route.template
        try:
            answer = frame.preflight(exchange)
            if answer is None:
                await frame.admit(exchange, route.scope)
                # What needs no token needs no body either: nobody keeps one here without a token.
                content = b"" if route.scope is None else await body.read()
                request = HttpRequest(
                    exchange.method, exchange.path, exchange.query, exchange.headers, content, exchange.request_id
                )
                answer = route.quick(request) or await route.answer(request)
        except asyncio.CancelledError:
            # Only a server that stops cancels requests: the time to finish them is over.
            answer = route.error_answer(ShuttingDown("the server is shutting down"), exchange.request_id)
        except Exception as error:  # noqa: BLE001 - the barrier: what is unexpected is logged and becomes a 500
            answer = route.error_answer(error, exchange.request_id)
            if answer.status == 500:
                _log.exception("%s %s failed", exchange.method, exchange.route)
        try:
            await frame.send(exchange, answer, body, send)
        finally:
            frame.end(exchange)
