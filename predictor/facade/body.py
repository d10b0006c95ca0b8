"""Reading the body of a request to the facade: uncompressed JSON, within its limit."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from contract.errors import TooLarge
from predictor.errors import UnsupportedMedia
from predictor.hotpath.body import Body


async def read_json_body(request: Request, *, limit: int) -> bytes:
    """Return the request's body, which must be uncompressed JSON by its headers and at most ``limit`` bytes.

    Raises:
        UnsupportedMedia: the headers say that the body is something else.
        TooLarge: Content-Length passes the limit, or what came did.
        ClientGone: the connection closed before the body was complete.

    """
    _check_media(request)
    body = Body(request.receive, limit, dict(request.scope["headers"]).get(b"content-length"))
    try:
        return await body.read()
    except TooLarge:
        request.scope["state"]["body_complete"] = body.is_complete
        raise


def _check_media(request: Request) -> None:
    content_type = request.headers.get("content-type")
    if content_type is None:
        raise UnsupportedMedia("there is no Content-Type: send Content-Type: application/json")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMedia(f"Content-Type is {content_type[:200]!r}: send Content-Type: application/json")
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMedia(f"Content-Encoding is {encoding[:200]!r}: send the body uncompressed")


class ClosingResponse(Response):
    """A response to a request whose body was not read to its end; the connection closes after it.

    The answer goes out at once, and what still comes is read and dropped for a moment: see
    :mod:`predictor.hotpath.body`.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, then drop what is left of the body."""
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        body = Body(receive, 0)
        body.is_complete = scope.get("state", {}).get("body_complete", False)
        await body.drop()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
