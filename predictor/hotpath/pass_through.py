"""What is not hot goes on to the facade: with the same id, admission, headers and notes, and no traceback either."""

from __future__ import annotations

import asyncio
import logging

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from predictor.errors import ShuttingDown
from predictor.hotpath.body import Body
from predictor.hotpath.exchange import Scope
from predictor.hotpath.frame import NO_ROUTE, Exchange, Frame
from predictor.problems import answer_of

_log = logging.getLogger(__name__)


def scope_of(path: str) -> Scope | None:
    """Return what a token must hold for a path of the facade; None where no token is needed."""
    if path == "/ingest" or path.startswith("/ingest/"):
        return "telemetry:ingest"
    if path == "/models" or path.startswith("/models/"):
        return "models:read"
    return "telemetry:score" if path == "/score" else None


async def pass_through(
    facade: ASGIApp, frame: Frame, exchange: Exchange, scope: AsgiScope, receive: Receive, send: Send
) -> None:
    """Have the facade answer one request."""
    answering = _Answering(frame, exchange, send)
    body = Body(receive, 0)

    async def noting() -> Message:
        """Receive for the facade, and note when there is no more to come: waiting for more would never end."""
        message = await receive()
        body.is_complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    scope.setdefault("state", {})["request_id"] = exchange.request_id
    try:
        answer = frame.preflight(exchange)
        if answer is not None:
            await frame.send(exchange, answer, body, send)
            return
        await frame.admit(exchange, scope_of(exchange.path))
        await facade(scope, noting, answering.pass_on)
    except asyncio.CancelledError:
        # Only a server that stops cancels requests: the time to finish them is over.
        if exchange.status:
            raise
        error = ShuttingDown("the server is shutting down")
        await frame.send(exchange, answer_of(error, request_id=exchange.request_id), body, send)
    except Exception as error:
        answer = answer_of(error, request_id=exchange.request_id, path=exchange.path)
        if answer.status == 500:
            _log.exception("%s %s failed", exchange.method, exchange.path)
        if not exchange.status:
            await frame.send(exchange, answer, body, send)
        elif not answering.is_complete:
            raise  # the answer broke off in the middle: only closing the connection tells the client
    finally:
        exchange.route = str(getattr(scope.get("route"), "path", NO_ROUTE))
        frame.end(exchange)


class _Answering:
    """Passes the facade's messages on, with the headers that every answer carries."""

    def __init__(self, frame: Frame, exchange: Exchange, send: Send) -> None:
        self._frame = frame
        self._exchange = exchange
        self._send = send
        self.is_complete = False

    async def pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._exchange.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._frame.head(self._exchange):
                headers[name.decode("latin-1")] = value.decode("latin-1")
        elif message["type"] == "http.response.body":
            self._exchange.size += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)
        await self._send(message)
