"""Answering small hot requests at once: the same frame, admission and routes as the driver's, with nothing awaited."""

from __future__ import annotations

import logging
import re
from typing import Any

import msgspec

from contract import json_logs
from predictor.hotpath.driver import HotRoute, InferenceProtocol
from predictor.hotpath.exchange import Headers, HttpRequest
from predictor.hotpath.frame import EXCHANGE, Exchange, Frame
from predictor.hotpath.late import Late
from predictor.observability.tracing import current_span
from predictor.problems import Answer

_log = logging.getLogger(__name__)
_SCORE = b"/score"
# Plain paths alone, whose meaning no decoding changes.
_INFER = re.compile(rb"/v2/models/[\w.-]+(?:/versions/[\w.-]+)?/infer")
_NO_STATE: dict[str, Any] = {}


class Answered(msgspec.Struct, frozen=True, gc=False):
    """What became of a request (see :class:`predictor.hotpath.express.Answered`)."""

    payload: bytes
    closes: bool
    state: dict[str, Any] = _NO_STATE


class ExpressLane:
    """Implements :class:`predictor.hotpath.express.Express`.

    Args:
        score: answers ``POST /score``.
        protocol: answers below /v2, once it is built.
        frame: what every request gets.
        max_body_bytes: the largest body; a larger one is left to the ordinary way, which refuses it.

    """

    def __init__(
        self, score: HotRoute, protocol: Late[InferenceProtocol], frame: Frame, *, max_body_bytes: int
    ) -> None:
        self._score = score
        self._protocol = protocol
        self._frame = frame
        self._max_body_bytes = max_body_bytes

    def is_hot(self, target: bytes) -> bool:
        """Tell whether a POST to ``target`` may be answered here: /score, or infer by a plain path."""
        return target == _SCORE or (_INFER.fullmatch(target) is not None and self._protocol.is_there)

    def answer(
        self, target: bytes, headers: Headers, body: bytes, client: str, default_headers: Headers, *, keep_alive: bool
    ) -> Answered:
        """Answer a request, or find that it must wait: then ``state`` has what was begun."""
        frame = self._frame
        path = target.decode("ascii")
        exchange = frame.begin_plainly("POST", path, b"", headers, client)
        route = self._route(target, path)
        exchange.route = route.template
        answer = self._tried(route, exchange, body)
        if answer is None:
            return Answered(b"", False, {EXCHANGE: exchange})
        closes = frame.is_draining or not keep_alive
        payload = frame.payload(exchange, answer, default_headers, closes=closes)
        frame.end(exchange)
        return Answered(payload, closes)

    def _route(self, target: bytes, path: str) -> HotRoute:
        protocol = self._protocol.value
        if target == _SCORE or protocol is None:
            return self._score
        return protocol.route("POST", path)

    def _tried(self, route: HotRoute, exchange: Exchange, body: bytes) -> Answer | None:
        frame = self._frame
        if exchange.span is not None:
            current_span.set(exchange.span)
        try:
            frame.preflight(exchange)  # it asks by OPTIONS, never by POST: this gives the headers alone
            if not frame.admit_quickly(exchange, route.scope):
                return None
            if len(body) > self._max_body_bytes:
                return None
            return route.quick(HttpRequest("POST", exchange.path, b"", exchange.headers, body, exchange.request_id))
        except Exception as error:  # noqa: BLE001 - the barrier: what is unexpected is logged and becomes a 500
            answer = route.error_answer(error, exchange.request_id)
            if answer.status == 500:
                token = json_logs.request_id.set(exchange.request_id)
                _log.exception("POST %s failed", exchange.route)
                json_logs.request_id.reset(token)
            return answer
        finally:
            if exchange.span is not None:
                current_span.set(None)
