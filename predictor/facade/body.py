"""Reading a request's body, with its size limited before anything is parsed."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from contract.errors import TooLarge
from predictor.errors import ClientGone, UnsupportedMedia

# How long, and for how many bytes, a body that was refused is still read: see ClosingResponse.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 256 * 1024 * 1024


async def read_json_body(request: Request, *, limit: int) -> bytes:
    """Return the request's body, which must be uncompressed JSON by its headers and at most ``limit`` bytes.

    Raises:
        UnsupportedMedia: the headers say that the body is something else.
        TooLarge: Content-Length passes the limit, or what came did.
        ClientGone: the connection closed before the body was complete.

    """
    _check_media(request)
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        _refuse(declared, limit)
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        more = _more(message)
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            request.scope["state"]["body_complete"] = not more
            _refuse(f"more than {limit}", limit)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _more(message: Message) -> bool:
    if message["type"] == "http.disconnect":
        raise ClientGone("the connection closed before the body was complete")
    return bool(message.get("more_body", False))


def _refuse(size: str, limit: int) -> NoReturn:
    raise TooLarge(
        f"the body has {size} bytes; the limit is {limit}: send the records in several requests", limit=limit
    )


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

    Closing while the client still sends makes the kernel reset the connection, and many clients then never see the
    answer. So the answer goes out at once, and what still comes is read and dropped for a moment.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, then drop what is left of the body."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        if not scope.get("state", {}).get("body_complete", False):
            await _drop_body(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drop_body(receive: Receive) -> None:
    dropped = 0
    more = True
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while more and dropped < _LINGER_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                more = message["type"] == "http.request" and message.get("more_body", False)
    except TimeoutError:
        return
