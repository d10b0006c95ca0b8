"""uvicorn with the express protocol before an application and a lane that tell which of them answered."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import uvicorn

from predictor.hotpath.exchange import Headers
from predictor.hotpath.express import ExpressProtocol, express_protocol
from predictor.security.connection_limits import ConnectionLimits
from tests.predictor.hotpath.wire import Wire
from tests.predictor.security.recorded_events import RecordedEvents

LIMITS = ConnectionLimits(
    connections=20,
    url_bytes=1000,
    header_bytes=4000,
    header_fields=20,
    header_seconds=0.3,
    body_idle_seconds=0.3,
    step_bytes=10,
    write_seconds=0.5,
    linger_seconds=0.3,
)
WIDE = ConnectionLimits(header_seconds=5, body_idle_seconds=5)


@dataclass(frozen=True)
class Said:
    """What became of a request in the lane."""

    payload: bytes
    closes: bool
    state: dict[str, Any] = field(default_factory=dict)


@dataclass
class SimulatedExpress:
    """Answers ``POST /hot`` with its body; lets the body ``wait`` wait."""

    bodies: list[bytes] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    answer_size: int = 0
    is_draining: bool = False

    def is_hot(self, target: bytes) -> bool:
        return target.startswith(b"/hot")

    def answer(
        self, target: bytes, headers: Headers, body: bytes, client: str, default_headers: Headers, *, keep_alive: bool
    ) -> Said:
        assert dict(headers)[b"host"] == b"x"
        self.clients.append(client)
        if body == b"wait":
            return Said(b"", False, {"begun": target.decode()})
        self.bodies.append(body)
        closes = self.is_draining or not keep_alive
        said = b"express:" + body + b"." * self.answer_size
        lines = [b"HTTP/1.1 200 OK", *(b"%b: %b" % one for one in default_headers), b"content-length: %d" % len(said)]
        return Said(b"\r\n".join([*lines, *[b"connection: close"] * closes, b"", said]), closes)


@dataclass
class App:
    """An ASGI application that answers with the body; ``/late`` does once it is told to."""

    bodies: list[bytes] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    disconnects: int = 0
    answer_size: int = 0
    go: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return
            body, more = body + message["body"], message["more_body"]
        self.bodies.append(body)
        self.states.append(scope["state"])
        if scope["path"] == "/late":
            await asyncio.to_thread(self.go.wait)
        said = b"ordinary:" + body + b"." * self.answer_size
        headers = [(b"content-length", b"%d" % len(said))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": said})


@dataclass
class Expressing:
    """A server, and what it told."""

    port: int
    app: App
    express: SimulatedExpress
    events: RecordedEvents
    server: uvicorn.Server
    pieces: list[int]

    @property
    def protocols(self) -> set[ExpressProtocol]:
        return self.server.server_state.connections  # type: ignore[return-value]

    def deliver(self, connection: Wire, *pieces: bytes) -> None:
        """Send pieces so that the server takes each by itself."""
        for piece in pieces:
            had = len(self.pieces)
            connection.send(piece)
            until(lambda had=had: len(self.pieces) > had)  # type: ignore[misc]


@contextmanager
def expressing(limits: ConnectionLimits = WIDE, *, loop: str = "auto", keep_alive: float = 5) -> Iterator[Expressing]:
    """Run a server while the block runs."""
    app, express, events, pieces = App(), SimulatedExpress(), RecordedEvents(), []
    made = express_protocol(express, limits, events)

    class Counting(made):  # type: ignore[misc,valid-type]
        """Notes how large the pieces were that came."""

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            pieces.append(len(data))

    config = uvicorn.Config(
        app, loop=loop, http=Counting, ws="none", lifespan="off", access_log=False, log_config=None,
        timeout_keep_alive=keep_alive, timeout_graceful_shutdown=1, server_header=False,
    )  # type: ignore[arg-type]  # fmt: skip
    bound = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        until(lambda: server.started)
        yield Expressing(bound.getsockname()[1], app, express, events, server, pieces)
    finally:
        app.go.set()
        server.should_exit = True
        thread.join()


def until(condition: Any) -> None:
    """Wait for a condition."""
    deadline = monotonic() + 10
    while not condition():
        assert monotonic() < deadline, "the condition did not come true"
        sleep(0.002)
