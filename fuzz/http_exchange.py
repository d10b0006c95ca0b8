"""Bytes to the server and a whole answer back, over a plain socket: what is sent is exactly what was made."""

from __future__ import annotations

import contextlib
import http.client
import io
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

_TIMEOUT_SECONDS = 20.0
# The server has read a piece before the next one comes, most of the time.
_MOMENT_SECONDS = 0.001


class Dropped(Exception):
    """The connection ended without a whole answer; says how."""


class Hung(Dropped):
    """Neither an answer nor the connection's end came in time."""


@dataclass(frozen=True)
class Answered:
    """An answer: header names in lower case, the last one of a name counts."""

    status: int
    headers: dict[str, str]
    body: bytes


class _Reader(io.BufferedReader):
    """What comes over a connection; whoever has read an answer may close it, and the next answer is not lost."""

    def close(self) -> None:
        """Stay open."""


class Connection:
    """One connection; closing it is up to whoever opened it."""

    def __init__(self, port: int, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        """Connect; Dropped if the server takes no connection."""
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        except OSError as refusal:
            raise Dropped(f"no connection: {refusal}") from refusal
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = _Reader(socket.SocketIO(self.socket, "r"))

    def makefile(self, _mode: str) -> _Reader:
        """Return what the standard library's parser of answers reads from."""
        return self._reader

    def send(self, data: bytes) -> None:
        """Send; a server that has answered already may have closed, and its answer is there all the same."""
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def answer(self, method: str) -> Answered:
        """Return the next whole answer; Dropped if there is none."""
        response = http.client.HTTPResponse(self, method=method)  # type: ignore[arg-type]  # it only calls makefile
        try:
            response.begin()
            body = response.read()
        except TimeoutError as end:
            raise Hung(f"no answer within {self.socket.gettimeout():g} s") from end
        except (OSError, ValueError, http.client.HTTPException) as end:
            raise Dropped(f"{type(end).__name__}: {end}") from end
        return Answered(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def rest(self) -> bytes:
        """Return what still comes until the server closes; Hung if it does not close in time."""
        try:
            return self._reader.read()
        except OSError as end:
            if isinstance(end, TimeoutError):
                raise Hung(f"neither an answer nor an end within {self.socket.gettimeout():g} s") from end
            return b""

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def has_ended(self) -> bool:
        """Tell whether the server has closed, or sent what nobody asked for."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def close(self) -> None:
        """Close it."""
        self.socket.close()


class Client:
    """A client that keeps its connection open as long as the server does.

    Args:
        port: the server's.
        timeout: seconds that an answer may take.

    """

    def __init__(self, port: int, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        self._port = port
        self._timeout = timeout
        self._connection: Connection | None = None

    def exchange(self, request: bytes, *, method: str = "POST") -> Answered:
        """Send a whole request and return its answer; Dropped if there is none."""
        return self.exchange_all([request], [method])[0]

    def exchange_all(self, pieces: Sequence[bytes], methods: Sequence[str]) -> list[Answered]:
        """Send requests, one behind the other, and return their answers, up to one after which the server closes.

        Args:
            pieces: the requests' bytes; between two of them is a moment.
            methods: of the requests.

        Raises:
            Dropped: an answer did not come.

        """
        if self._connection is not None and self._connection.has_ended():
            self.close()
        if self._connection is None:
            self._connection = Connection(self._port, timeout=self._timeout)
        for place, piece in enumerate(pieces):
            if place:
                time.sleep(_MOMENT_SECONDS)
            self._connection.send(piece)
        answers: list[Answered] = []
        while len(answers) < len(methods) and self._connection is not None:
            answers.append(self._next(self._connection, methods[len(answers)]))
        return answers

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _next(self, connection: Connection, method: str) -> Answered:
        try:
            answer = connection.answer(method)
        except Dropped:
            self.close()
            raise
        if "close" in answer.headers.get("connection", "").lower():
            self.close()
        return answer


def http_request(method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """Return a whole request; its Content-Length is that of ``body``."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body
