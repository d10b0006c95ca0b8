"""Reading a request's body within its limit, and what to do with one that is refused before its end."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from starlette.types import Message, Receive

from contract.errors import TooLarge
from predictor.errors import ClientGone

# How long, and for how many bytes, a body that was refused is still read. Closing while the client still sends makes
# the kernel reset the connection, and many clients then never see the answer.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 256 * 1024 * 1024


class Body:
    """The body of one request.

    Args:
        receive: ASGI's.
        limit: the most bytes.
        declared: the Content-Length header, if there is one.

    """

    __slots__ = ("_declared", "_limit", "_receive", "is_complete")

    def __init__(self, receive: Receive, limit: int, declared: bytes | None = None) -> None:
        self._receive = receive
        self._limit = limit
        self._declared = declared
        self.is_complete = False

    async def read(self) -> bytes:
        """Return the whole body.

        Raises:
            TooLarge: Content-Length passes the limit, or what came did.
            ClientGone: the connection closed before the body was complete.

        """
        self._check_declared()
        message = await self._receive()
        part: bytes = message.get("body", b"")
        if not message.get("more_body", False) and len(part) <= self._limit:
            self._check_there(message)
            self.is_complete = True
            return part
        return await self._rest(message)

    async def drop(self) -> None:
        """Read and forget what is left, for a moment."""
        dropped = 0
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self.is_complete and dropped < _LINGER_BYTES:
                    message = await self._receive()
                    dropped += len(message.get("body", b""))
                    self.is_complete = message["type"] != "http.request" or not message.get("more_body", False)
        except TimeoutError:
            return

    async def _rest(self, message: Message) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            self._check_there(message)
            part: bytes = message.get("body", b"")
            size += len(part)
            self.is_complete = not message.get("more_body", False)
            if size > self._limit:
                self._refuse(f"more than {self._limit}")
            parts.append(part)
            if self.is_complete:
                return b"".join(parts)
            message = await self._receive()

    def _check_declared(self) -> None:
        declared = self._declared
        if declared is not None and declared.isdigit() and int(declared[:20]) > self._limit:
            self._refuse(declared[:20].decode())

    def _check_there(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            raise ClientGone("the connection closed before the body was complete")

    def _refuse(self, size: str) -> NoReturn:
        raise TooLarge(
            f"the body has {size} bytes; the limit is {self._limit}: send the records in several requests",
            limit=self._limit,
        )
