"""HTTP/1.1 as bytes on a socket, so that a test decides what comes in which piece."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

TIMEOUT = 10.0


@dataclass(frozen=True)
class WireAnswer:
    """An answer as it came; header names are in lower case, in their order."""

    version: str
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that comes at most once."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    @property
    def closes(self) -> bool:
        return self.header("connection") == "close"

    def json(self) -> Any:
        return json.loads(self.body)

    def comparable(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """What must be the same whichever way it was answered: all but the clock and ids that the server makes."""
        request_id = self.header("x-request-id") or ""
        body = self.body.replace(request_id.encode(), b"(id)") if request_id else self.body
        kept = [("x-request-id", "") if name == "x-request-id" else (name, value) for name, value in self.headers]
        sizes = {"date", "content-length"} if len(body) != len(self.body) else {"date"}
        return self.status, sorted(one for one in kept if one[0] not in sizes), body


class Wire:
    """A connection to a server."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._received = b""

    def send(self, *pieces: bytes) -> None:
        """Send each piece by itself."""
        for piece in pieces:
            self.socket.sendall(piece)

    def ask(self, *pieces: bytes) -> WireAnswer:
        """Send a request and return its answer."""
        self.send(*pieces)
        return self.answer()

    def answer(self, *, has_body: bool = True) -> WireAnswer:
        """Return the next answer; one that is informational (100) counts."""
        head = self._until(b"\r\n\r\n").decode("latin-1")
        first, *lines = head.split("\r\n")
        version, status, _ = first.split(" ", 2)
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines if line)]
        fields = dict(headers)
        if status == "100" or not has_body:
            body = b""
        elif fields.get("transfer-encoding") == "chunked":
            body = self._chunks()
        else:
            body = self._exactly(int(fields.get("content-length", "0")))
        return WireAnswer(version, int(status), headers, body)

    def is_closed(self) -> bool:
        """Wait for the server's end of the connection; False if something else comes."""
        try:
            return not self._received and self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            body += self._exactly(size)
            assert self._exactly(2) == b"\r\n"
        assert self._exactly(2) == b"\r\n"
        return body

    def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._more()
        found, _, self._received = self._received.partition(end)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            self._more()
        found, self._received = self._received[:size], self._received[size:]
        return found

    def _more(self) -> None:
        piece = self.socket.recv(65536)
        assert piece, f"the server closed after {self._received!r}"
        self._received += piece


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    """Connect to a port of this machine while the block runs."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Wire(connection)


def request(
    target: str = "/score",
    body: bytes = b"",
    *headers: str,
    method: str = "POST",
    version: str = "1.1",
    content_type: str | None = "application/json",
    length: int | None = None,
) -> bytes:
    """A request whose body has a length; ``length`` lies about it."""
    return head(target, len(body) if length is None else length, *headers, method=method, version=version,
                content_type=content_type) + body  # fmt: skip


def head(
    target: str,
    length: int,
    *headers: str,
    method: str = "POST",
    version: str = "1.1",
    content_type: str | None = "application/json",
) -> bytes:
    """The head of a request whose body has a length."""
    lines = [f"{method} {target} HTTP/{version}", "Host: x", *headers, f"Content-Length: {length}"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunked(
    target: str = "/score", body: bytes = b"", *headers: str, content_type: str | None = "application/json"
) -> list[bytes]:
    """The same request in chunks, in pieces that make it go the ordinary way: its head comes without its body."""
    lines = [f"POST {target} HTTP/1.1", "Host: x", *headers, "Transfer-Encoding: chunked"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return ["\r\n".join([*lines, "", ""]).encode("latin-1"), chunk + b"0\r\n\r\n"]
