"""What one connection may take, and how it is told that it took too much. PURE.

These refusals come before there is a request, so they are answered by the protocol itself: problem documents like all
others, each with a request id of its own.
"""

from __future__ import annotations

import http
from dataclasses import dataclass

import msgspec

from predictor.problems import CONTENT_TYPE, Kind, Problem


@dataclass(frozen=True)
class ConnectionLimits:
    """What one client, or all of them, may take.

    Args:
        connections: at once, over all clients.
        url_bytes: length of a request's target.
        header_bytes: of a request line and its headers together; of trailers, and of chunks without data, as well.
        header_fields: of one request.
        header_seconds: from a request's first byte until its headers are complete.
        body_idle_seconds: in which at least ``step_bytes`` of a body must come, or its end.
        write_seconds: in which a client must take as much of an answer that waits for it.
        step_bytes: what counts as progress. With the defaults, 34 bytes a second of a body.
        linger_seconds: after a refusal, in which what still comes is thrown away, so that the client can read why.

    """

    connections: int = 10_000
    url_bytes: int = 8 * 1024
    header_bytes: int = 32 * 1024
    header_fields: int = 100
    header_seconds: float = 10.0
    body_idle_seconds: float = 30.0
    write_seconds: float = 60.0
    step_bytes: int = 1024
    linger_seconds: float = 1.0


@dataclass(frozen=True)
class ConnectionRefusal:
    """A kind of problem that ends a connection; ``reason`` is its name in metrics."""

    kind: Kind
    detail: str

    @property
    def reason(self) -> str:
        """The problem's slug, as metrics write it."""
        return self.kind.slug.replace("-", "_")


MALFORMED = ConnectionRefusal(
    Kind(400, "malformed-request", "The request is not HTTP"), "what came is not HTTP/1.1: see RFC 9112"
)
NO_TUNNEL = ConnectionRefusal(
    Kind(405, "method-not-allowed", "This is no proxy"), "CONNECT is for proxies: see the Allow header, or GET /docs"
)
_TOO_SLOW = Kind(408, "request-timeout", "The request came too slowly")
HEADERS_TOO_SLOW = ConnectionRefusal(_TOO_SLOW, "the headers were not complete in time: send them at once")
BODY_TOO_SLOW = ConnectionRefusal(_TOO_SLOW, "the body stopped coming: send it without pauses")
URL_TOO_LONG = ConnectionRefusal(Kind(414, "url-too-long", "The URL is too long"), "shorten the path and the query")
HEADERS_TOO_LARGE = ConnectionRefusal(
    Kind(431, "headers-too-large", "The headers are too large"), "send fewer and shorter headers"
)
TOO_MANY_CONNECTIONS = ConnectionRefusal(
    Kind(503, "too-many-connections", "The server has too many connections"),
    "try again in a moment, on fewer connections",
)


_MORE = {405: ("allow: GET, HEAD, POST, OPTIONS",), 503: ("retry-after: 1",)}


def answer(refusal: ConnectionRefusal, request_id: str) -> bytes:
    """Return a whole HTTP/1.1 answer that says why, and that the connection ends."""
    kind = refusal.kind
    body = msgspec.json.encode(Problem(kind.type, kind.title, kind.status, refusal.detail, request_id))
    head = [
        f"HTTP/1.1 {kind.status} {http.HTTPStatus(kind.status).phrase}",
        f"content-type: {CONTENT_TYPE}",
        f"content-length: {len(body)}",
        f"x-request-id: {request_id}",
        "connection: close",
        *_MORE.get(kind.status, ()),
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
