"""Clients that never pause, each in a thread, and as strict as a client can be about answers that do not come.

A client opens a new connection only where it may expect to have to: at first, and after an answer that said
``connection: close``. A request that gets no answer is a failure, on a new connection and on a reused one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from fuzz.http_exchange import Connection, Dropped

_FAILURES_KEPT = 20


@dataclass
class Caller:
    """Calls again and again until it is stopped.

    Args:
        name: for messages.
        call: makes one request; returns what was wrong, or nothing.
        close: ends what ``call`` left open.

    """

    name: str
    call: Callable[[], str]
    close: Callable[[], None]
    answers: int = 0
    failures: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Call until told to stop."""
        while not self._stopping.is_set():
            wrong = self.call()
            if not wrong:
                self.answers += 1
            elif len(self.failures) < _FAILURES_KEPT:
                self.failures.append(wrong)
        self.close()

    def stop(self) -> None:
        """Make no more requests."""
        self._stopping.set()


class HttpClient:
    """Sends one request over and over on a connection that it keeps.

    Args:
        port: on 127.0.0.1.
        pieces: the whole request, as it is sent piece by piece.
        method: of the request.

    """

    def __init__(self, port: int, pieces: Sequence[bytes], method: str = "POST") -> None:
        self._port = port
        self._pieces = pieces
        self._method = method
        self._connection: Connection | None = None

    def call(self) -> str:
        """Make one request."""
        where = "a reused connection" if self._connection is not None else "a new connection"
        try:
            self._connection = self._connection or Connection(self._port)
            for piece in self._pieces:
                self._connection.send(piece)
            answer = self._connection.answer(self._method)
        except Dropped as drop:
            self.close()
            return f"no answer on {where}: {drop}"
        if "close" in answer.headers.get("connection", ""):
            self.close()
        return "" if answer.status == 200 else f"{answer.status} on {where}: {answer.body[:200]!r}"

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class GrpcClient:
    """Makes one unary call over and over on a channel of its own, as the library is by default."""

    def __init__(self, port: int, method: str, message: bytes) -> None:
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 50),
        ]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
        self._call = self._channel.unary_unary(method)
        self._message = message
        self.close = self._channel.close

    def call(self) -> str:
        """Make one call."""
        try:
            self._call(self._message, timeout=20)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
        return ""


@contextmanager
def calling(callers: Sequence[Caller]) -> Iterator[None]:
    """Have all of them call while the block runs."""
    threads = [threading.Thread(target=caller.run, name=caller.name) for caller in callers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for caller in callers:
            caller.stop()
        for thread in threads:
            thread.join()
