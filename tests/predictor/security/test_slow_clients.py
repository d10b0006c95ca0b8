"""Raw sockets against a real uvicorn server that runs the bounded protocol with short limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.security.connection_limits import ConnectionLimits
from predictor.security.slow_clients import BoundedProtocol, bounded_protocol
from tests.predictor.security.recorded_events import RecordedEvents

LIMITS = ConnectionLimits(
    connections=20,
    url_bytes=1000,
    header_bytes=4000,
    header_fields=20,
    header_seconds=0.3,
    body_idle_seconds=0.3,
    step_bytes=10,
    write_seconds=0.3,
    linger_seconds=0.3,
)
GET = b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class App:
    """An ASGI application that keeps what it saw; ``/late`` answers only once it is told to."""

    bodies: list[bytes] = field(default_factory=list)
    disconnects: int = 0
    go: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/early":
            await self._answer(send, b"early")
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.bodies.append(body)
        if scope["path"] == "/late":
            await asyncio.to_thread(self.go.wait)
        await self._answer(send, b"x" * 30_000_000 if scope["path"] == "/large" else b"ok")

    async def _answer(self, send: Any, body: bytes) -> None:
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@dataclass
class Running:
    """A server, and what it told."""

    port: int
    app: App
    events: RecordedEvents
    server: uvicorn.Server

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)


@contextmanager
def _serving(limits: ConnectionLimits = LIMITS, *, loop: str = "auto", keep_alive: float = 5) -> Iterator[Running]:
    app, events = App(), RecordedEvents()
    config = uvicorn.Config(
        app, loop=loop, http=bounded_protocol(limits, events), ws="none", lifespan="off", access_log=False,
        log_config=None, timeout_keep_alive=keep_alive, timeout_graceful_shutdown=1,
    )  # fmt: skip
    bound = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        _until(lambda: server.started)
        yield Running(bound.getsockname()[1], app, events, server)
    finally:
        app.go.set()
        server.should_exit = True
        thread.join()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)


@pytest.fixture(params=["uvloop", "asyncio"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    with _serving(loop=request.param) as server:
        yield server


def _all(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def _answer(connection: socket.socket, body: bytes = b"ok") -> bytes:
    """One answer."""
    received = b""
    while not received.endswith(body):
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return received


def _problem(raw: bytes) -> dict[str, Any]:
    """The problem document of a whole refusal, after a look at its form."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    document: dict[str, Any] = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert int(headers["content-length"]) == len(body)
    assert headers["x-request-id"] == document["request_id"]
    assert len(document["request_id"]) == 32
    assert lines[0].startswith(f"HTTP/1.1 {document['status']} ")
    return document


def _headers(*lines: bytes, target: bytes = b"/fast") -> bytes:
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: x", *lines, b"", b""])


def _refused(running: Running, *pieces: bytes) -> dict[str, Any]:
    """The problem that a connection's bytes are refused with."""
    with running.connect() as connection:
        for piece in pieces:
            connection.sendall(piece)
        return _problem(_all(connection))


def test_requests_within_bounds_pass_in_one_piece_and_in_many(running: Running) -> None:
    request = b"POST /fast HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world"
    with running.connect() as connection:
        for _ in range(3):
            connection.sendall(request)
            assert _answer(connection).startswith(b"HTTP/1.1 200 OK")
        for i in range(len(request)):
            connection.sendall(request[i : i + 1])
        _answer(connection)
        connection.sendall(GET)
        _answer(connection)
    assert running.app.bodies == [b"hello world"] * 4 + [b""]
    assert running.events.refusals == []


def test_chunked_bodies_with_trailers_pass(running: Running) -> None:
    request = (
        b"POST /fast HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    with running.connect() as connection:
        connection.sendall(request)
        _answer(connection)
        for i in range(0, len(request), 7):
            connection.sendall(request[i : i + 7])
        _answer(connection)
    assert running.app.bodies == [b"hello world"] * 2


def test_pipelined_requests_are_all_answered(running: Running) -> None:
    large = b"POST /fast HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"y" * 100_000
    stream = large + GET + large + GET
    with running.connect() as connection:
        # The pieces end in the middle of a head, after a large body in the same piece.
        for start in range(0, len(stream), 100_070):
            connection.sendall(stream[start : start + 100_070])
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 4:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
    assert [len(body) for body in running.app.bodies] == [100_000, 0, 100_000, 0]
    assert running.events.refusals == []


@pytest.mark.parametrize("together", [True, False])
def test_headers_that_are_too_large_are_refused(running: Running, together: bool) -> None:
    raw = _headers(b"X: " + b"a" * 5000)
    pieces = [raw] if together else [raw[i : i + 500] for i in range(0, len(raw), 500)]
    assert _refused(running, *pieces)["status"] == 431
    assert running.events.refusals == ["headers_too_large"]
    assert running.app.bodies == []


def test_a_header_that_never_ends_is_refused_as_soon_as_it_is_too_long(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(b"GET /fast HTTP/1.1\r\nX: ")
        connection.sendall(b"a" * 5000)
        assert _problem(_all(connection))["status"] == 431


def test_too_many_header_fields_are_refused(running: Running) -> None:
    fields = [b"a: b"] * 20
    assert _refused(running, _headers(*fields))["status"] == 431
    with running.connect() as connection:
        connection.sendall(_headers(*fields[:-1]))
        _answer(connection)


def test_headers_just_within_bounds_pass_although_more_came_with_them(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(_headers(b"X: " + b"a" * 3900) + GET * 100)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        _until(lambda: len(running.app.bodies) == 101)
    assert running.events.refusals == []


@pytest.mark.parametrize("together", [True, False])
def test_a_long_url_is_refused(running: Running, together: bool) -> None:
    raw = _headers(target=b"/" + b"a" * 1000)
    pieces = [raw] if together else [raw[:400], raw[400:800], raw[800:1009]]
    assert _refused(running, *pieces)["status"] == 414
    assert running.events.refusals == ["url_too_long"]


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
     b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
     b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"],
)  # fmt: skip
def test_what_is_not_http_is_refused_with_a_problem_document(running: Running, garbage: bytes) -> None:
    assert _refused(running, garbage)["type"] == "urn:telltale:problem:malformed-request"
    assert running.events.refusals == ["malformed_request"]


def test_headers_must_be_complete_in_time_however_steadily_they_drip(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(b"GET /fast HTTP/1.1\r\nX: ")
        begun = time.monotonic()
        connection.settimeout(0.02)
        while True:
            connection.sendall(b"a")
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                assert time.monotonic() - begun < 5
                continue
            break
        assert _problem(answer)["status"] == 408
        assert 0.25 < time.monotonic() - begun < 3
    assert running.events.refusals == ["request_timeout"]


def test_time_for_headers_begins_with_each_request(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(GET)
        _answer(connection)
        connection.sendall(GET[:10])
        assert _problem(_all(connection))["status"] == 408
    assert len(running.app.bodies) == 1


@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
def test_a_body_that_stops_is_refused_and_the_application_told(running: Running, framing: bytes) -> None:
    assert (
        _refused(running, b"POST /fast HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n", b"3\r\nabc")["status"] == 408
    )
    _until(lambda: running.app.disconnects == 1)
    assert running.events.refusals == ["request_timeout"]


def test_a_body_that_drips_too_slowly_is_refused_and_one_that_is_quick_enough_passes(running: Running) -> None:
    head = b"POST /fast HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n"
    with running.connect() as quick:
        quick.sendall(head)
        for _ in range(6):
            time.sleep(0.1)  # half a second altogether: longer than a pause may be
            quick.sendall(b"x" * 10)
        _answer(quick)
    with running.connect() as slow:
        slow.sendall(head)
        slow.settimeout(0.1)
        for _ in range(50):
            slow.sendall(b"x")
            try:
                assert _problem(slow.recv(65536))["status"] == 408
            except TimeoutError:
                continue
            break
        else:
            pytest.fail("it was not refused")


def test_a_body_that_the_application_does_not_read_yet_may_pause(running: Running) -> None:
    """The server stops reading at 64 KiB: what the client cannot send is not its fault."""
    with running.connect() as connection, running.connect() as other:
        connection.sendall(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        _until(lambda: len(running.app.bodies) == 1)
        # A second request waits for the first; its body is half there.
        connection.sendall(b"POST /fast HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf ")
        time.sleep(2.5 * LIMITS.body_idle_seconds)
        other.sendall(GET)
        _answer(other)
        running.app.go.set()
        _answer(connection)
        connection.sendall(b"body.")
        _answer(connection)
    assert running.app.bodies[-1] == b"half body."
    assert running.events.refusals == []


@pytest.mark.parametrize("filler", [b"X-Trailer: " + b"a" * 489, b"a: b\r\n" * 10])
def test_trailers_are_bounded(running: Running, filler: bytes) -> None:
    head = b"POST /fast HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    problem = _refused_while_sending(running, head, filler)
    assert problem["status"] == 431


def test_chunks_without_data_are_bounded(running: Running) -> None:
    head = b"POST /fast HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;"
    assert _refused_while_sending(running, head, b"e" * 500)["status"] == 431


def _refused_while_sending(running: Running, head: bytes, filler: bytes) -> dict[str, Any]:
    with running.connect() as connection:
        connection.sendall(head)
        connection.settimeout(0.01)
        for _ in range(300):
            connection.sendall(filler)
            try:
                return _problem(connection.recv(65536))
            except TimeoutError:
                continue
        pytest.fail("it was not refused")


def test_a_bad_request_behind_a_good_one_leaves_that_ones_answer_alone(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        _until(lambda: len(running.app.bodies) == 1)
        connection.sendall(b"\x00garbage\r\n\r\n")
        _until(lambda: running.events.refusals == ["malformed_request"])
        running.app.go.set()
        answer = _all(connection)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"ok")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_client_that_leaves_its_pipelined_requests_is_not_answered(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """Writing to a connection that is gone would be an error with a traceback in the log."""
    with running.connect() as connection:
        connection.sendall(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        _until(lambda: len(running.app.bodies) == 1)
    _until(lambda: running.connections == 0)
    running.app.go.set()
    _until(lambda: not running.server.server_state.tasks)
    assert caplog.records == []
    assert running.app.bodies == [b""]


def test_a_body_that_is_refused_at_once_is_not_asked_for(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """After the refusal nothing more can be written, not even `100 Continue`."""
    head = b"POST /fast HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    with caplog.at_level(logging.WARNING):
        assert _refused(running, head + b"no size\r\n")["status"] == 400
        _until(lambda: running.app.disconnects == 1)
    assert caplog.records == []


def test_a_body_that_stops_after_its_answer_ends_as_any_idle_connection() -> None:
    with _serving(keep_alive=0.5) as running, running.connect() as connection:
        connection.sendall(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        answer = _all(connection)
    assert answer.endswith(b"early")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_body_that_drips_after_its_answer_ends_the_connection_all_the_same(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        connection.settimeout(0.1)
        received, begun = b"", time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < 5:
                connection.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    received += connection.recv(65536)
        assert time.monotonic() - begun < 4
    assert received.count(b"HTTP/1.1") == 1


def test_an_upgrade_is_answered_as_if_nobody_had_asked(running: Running) -> None:
    upgrade = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAA"]
    with running.connect() as connection:
        for _ in range(2):
            connection.sendall(_headers(*upgrade))
            assert _answer(connection).startswith(b"HTTP/1.1 200 OK")
        connection.sendall(
            b"POST /fast HTTP/1.1\r\nHost: x\r\n" + b"\r\n".join(upgrade) + b"\r\nContent-Length: 3\r\n\r\nabc"
        )
        _answer(connection)
        connection.sendall(GET)
        _answer(connection)
    assert running.app.bodies == [b"", b"", b"abc", b""]


@pytest.mark.parametrize("step", [1, 50, 1000])
def test_bodies_of_requests_that_wish_to_upgrade_are_read(running: Running, step: int) -> None:
    head = b"POST /fast HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    stream = (
        head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        + head + b"Content-Length: 3\r\n\r\ndef" + GET + head + b"\r\n"
        + head.replace(b"Connection: Upgrade", b"Connection: close, Upgrade") + b"\r\n"
    )  # fmt: skip
    with running.connect() as connection:
        for start in range(0, len(stream), step):
            connection.sendall(stream[start : start + step])
        assert _all(connection).count(b"HTTP/1.1 200 OK") == 5
    assert running.app.bodies == [b"abc", b"def", b"", b"", b""]
    assert running.events.refusals == []


def test_connect_is_refused_once(running: Running) -> None:
    raw = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n\x16\x03\x01"
    assert _refused(running, raw)["status"] == 405
    assert running.events.refusals == ["method_not_allowed"]


def test_the_preface_of_http_2_is_refused(running: Running) -> None:
    assert _refused(running, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")["status"] == 400


def test_a_request_that_was_answered_before_its_end_keeps_its_connection(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        _answer(connection, b"early")
        connection.sendall(b"def")
        connection.sendall(GET)
        _answer(connection)


_PIECES = [
    b"POST /fast HTTP/1.1\r\n", b"GET /early HTTP/1.1\r\n", b"Host: x\r\n", b"Content-Length: 5\r\n", b"hello", b"\r\n",
    b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", GET,
    b"Connection: close\r\n", b"CONNECT a:1 HTTP/1.1\r\n", b"Expect: 100-continue\r\n", b"\x00",
    b"X: " + b"a" * 900 + b"\r\n",
]  # fmt: skip


def test_nothing_that_comes_breaks_the_server(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), _serving() as running:

        @settings(max_examples=150, deadline=None)
        @given(st.lists(st.lists(st.sampled_from(_PIECES) | st.binary(max_size=9), max_size=9), max_size=6))
        def survives(pieces: list[list[bytes]]) -> None:
            with running.connect() as connection, contextlib.suppress(OSError):
                for some in pieces:
                    connection.sendall(b"".join(some))
            with running.connect() as connection:
                connection.sendall(GET)
                assert _answer(connection).startswith(b"HTTP/1.1 200 OK")

        survives()
        _until(lambda: running.connections == 0)
    assert caplog.records == []


def test_empty_lines_between_requests_are_no_request(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(GET)
        _answer(connection)
        connection.sendall(b"\r\n")
        time.sleep(2 * LIMITS.header_seconds)
        connection.sendall(GET)
        _answer(connection)
    assert running.events.refusals == []


def test_one_connection_too_many_is_refused_and_a_free_place_is_given(running: Running) -> None:
    held = [running.connect() for _ in range(LIMITS.connections)]
    _until(lambda: running.connections == LIMITS.connections)
    with running.connect() as late:
        answer = _all(late)
        assert _problem(answer)["status"] == 503
        assert b"retry-after: 1\r\n" in answer
    held.pop().close()
    _until(lambda: running.connections == LIMITS.connections - 1)
    with running.connect() as next_one:
        next_one.sendall(GET)
        _answer(next_one)
    for connection in held:
        connection.close()
    _until(lambda: running.connections == 0)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_connection_that_never_says_anything_is_closed(loop: str) -> None:
    with _serving(loop=loop, keep_alive=0.2) as running, running.connect() as connection:
        assert _all(connection) == b""


@pytest.mark.parametrize("ending", [b"", b"Connection: close\r\n"])
def test_a_client_that_does_not_read_its_answer_is_cut_off(running: Running, ending: bytes) -> None:
    with running.connect() as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n" + ending + b"\r\n")
        _until(lambda: running.connections == 1)
        _until(lambda: running.connections == 0)


def test_a_client_that_reads_its_answer_slowly_gets_all_of_it(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        received, begun = 0, time.monotonic()
        while received < 30_000_000:
            piece = connection.recv(150_000)
            assert piece
            received += len(piece)
            time.sleep(0.005)
        assert time.monotonic() - begun > LIMITS.write_seconds


def test_each_refusal_is_logged_with_its_request_id_and_nothing_that_came(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), _serving() as running:
        problem = _refused(running, b"secret-token\r\n\r\n")
    records = [record for record in caplog.records if record.name.startswith("predictor")]
    assert [record.request_id for record in records] == [problem["request_id"]]  # type: ignore[attr-defined]
    assert "secret-token" not in caplog.text
    assert not [record for record in caplog.records if record.name == "uvicorn.error" and record.levelno >= 30]


def test_a_request_in_one_piece_arms_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    armed: list[object] = []

    def arm(protocol: BoundedProtocol) -> None:
        armed.append(protocol)

    monkeypatch.setattr(BoundedProtocol, "_arm", arm)
    with _serving() as running, running.connect() as connection:
        for _ in range(5):
            connection.sendall(b"POST /fast HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
            _answer(connection)
        assert armed == []
        connection.sendall(GET[:5])
        _until(lambda: len(armed) == 1)


def test_the_server_stops_although_clients_dawdle() -> None:
    patient = replace(LIMITS, header_seconds=60, body_idle_seconds=60)
    begun = time.monotonic()
    with _serving(patient) as running:
        dawdling = [running.connect() for _ in range(3)]
        dawdling[0].sendall(GET[:10])
        dawdling[1].sendall(b"POST /fast HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        _until(lambda: running.connections == 3)
    assert time.monotonic() - begun < 10
    for connection in dawdling:
        connection.close()
