"""The load generator against real servers that misbehave in known ways."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest

from benchmarks.load import LoadError, Target, build, http_request, run_load
from benchmarks.server import free_port

BODY = b'{"some": "body"}'
LARGE = b"x" * 3_000_000


class Handler(BaseHTTPRequestHandler):
    """Answers by the path it is asked for, and counts what it was asked."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.count += 1
            number = server.count
            server.bodies.add(body)
        getattr(self, f"answer_{self.path[1:]}")(number)

    def answer_good(self, _number: int) -> None:
        self._send(200, b"fine")

    def answer_slow(self, _number: int) -> None:
        time.sleep(0.02)
        self._send(200, b"fine")

    def answer_mixed(self, number: int) -> None:
        self._send(200 if number % 4 else 503, b"fine" if number % 4 else b"")

    def answer_large(self, _number: int) -> None:
        self._send(200, LARGE)

    def answer_chunked(self, _number: int) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (b"4\r\nfine\r\n", b"1A\r\n" + b"y" * 26 + b"\r\n", b"0\r\n", b"Some: trailer\r\n\r\n"):
            self.wfile.write(part)

    def answer_closing(self, _number: int) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = True

    def answer_broken(self, number: int) -> None:
        if number % 4:
            self._send(200, b"fine")
        else:
            self.close_connection = True

    def answer_silent(self, _number: int) -> None:
        self.close_connection = True

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-LENGTH", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server that takes many connections at once."""

    request_queue_size = 128


@pytest.fixture
def server() -> Iterator[Any]:
    """Yield an HTTP server."""
    with Server(("127.0.0.1", 0), Handler) as made:
        running: Any = made
        running.daemon_threads, running.count, running.bodies, running.lock = True, 0, set(), threading.Lock()
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        made.shutdown()
        thread.join()


def target(server: Any, path: str) -> Target:
    return Target(server.server_port, http_request(f"/{path}", BODY))


@pytest.mark.parametrize("connections", [1, 16])
def test_every_request_is_counted_and_arrives_as_it_was_given(server: Any, connections: int) -> None:
    load = run_load(target(server, "good"), connections=connections, seconds=0.3)
    assert load.requests == server.count > connections
    assert server.bodies == {BODY}
    assert load.bad == load.broken == 0
    assert load.rps == pytest.approx(load.requests / load.seconds, rel=1e-3)
    assert 0.3 <= load.seconds < 5


def test_it_stops_after_the_number_of_requests_that_was_asked_for(server: Any) -> None:
    load = run_load(target(server, "good"), connections=8, seconds=60, requests=50)
    assert load.requests == server.count == 50


def test_fewer_requests_than_connections_are_sent_once_each(server: Any) -> None:
    assert run_load(target(server, "good"), connections=8, seconds=60, requests=3).requests == server.count == 3


def test_answers_other_than_200_are_counted_and_no_rate_is_made_of_them(server: Any) -> None:
    load = run_load(target(server, "mixed"), connections=4, seconds=60, requests=400, allow_bad=True)
    assert (load.requests, load.bad, load.bad_status, load.broken) == (400, 100, 503, 0)
    assert load.rps == pytest.approx(300 / load.seconds, rel=1e-3)


def test_answers_other_than_200_are_refused(server: Any) -> None:
    with pytest.raises(LoadError, match=r"10 of 40 answers were bad \(the last: 503\), 0 connections broke"):
        run_load(target(server, "mixed"), connections=1, seconds=60, requests=40)


def test_latencies_are_those_of_the_server(server: Any) -> None:
    load = run_load(target(server, "slow"), connections=4, seconds=0.5)
    assert 20_000 <= load.p50_us <= load.p90_us <= load.p99_us <= load.max_us
    assert load.p50_us < 200_000
    assert load.mean_us <= load.max_us
    assert load.cpu_share < 0.5


def test_a_request_under_way_at_the_end_is_waited_for(server: Any) -> None:
    load = run_load(target(server, "slow"), connections=1, seconds=0.001)
    assert (load.requests, load.broken) == (1, 0)
    assert load.seconds >= 0.02


def test_chunked_answers_are_read_to_their_end(server: Any) -> None:
    load = run_load(target(server, "chunked"), connections=2, seconds=60, requests=100)
    assert (load.requests, load.bad, server.count) == (100, 0, 100)


def test_large_answers_are_read_to_their_end(server: Any) -> None:
    load = run_load(target(server, "large"), connections=2, seconds=60, requests=10)
    assert load.requests == 10
    assert 10 * len(LARGE) < load.bytes < 10 * (len(LARGE) + 500)


def test_large_requests_are_sent_to_their_end(server: Any) -> None:
    request = Target(server.server_port, http_request("/good", LARGE))
    assert run_load(request, connections=2, seconds=60, requests=10).requests == 10
    assert server.bodies == {LARGE}


def test_a_request_in_two_pieces_arrives_as_it_was_given(server: Any) -> None:
    request = Target(server.server_port, http_request("/good", BODY), in_two=True)
    assert run_load(request, connections=4, seconds=60, requests=100).requests == server.count == 100
    assert server.bodies == {BODY}


def test_a_connection_that_the_server_closes_in_order_is_opened_again(server: Any) -> None:
    load = run_load(target(server, "closing"), connections=2, seconds=60, requests=40)
    assert (load.requests, load.bad, load.broken, server.count) == (40, 0, 0, 40)


def test_connections_that_break_under_a_request_are_counted(server: Any) -> None:
    load = run_load(target(server, "broken"), connections=1, seconds=60, requests=30, allow_bad=True)
    assert load.requests == 30
    assert load.broken == server.count - 30 == 9


def test_a_server_that_never_answers_is_refused(server: Any) -> None:
    with pytest.raises(LoadError, match="no answer"):
        run_load(target(server, "silent"), connections=2, seconds=0.2)


def test_a_server_that_is_not_there_is_refused() -> None:
    port = free_port()
    with pytest.raises(LoadError, match=f"cannot connect to 127.0.0.1:{port}"):
        run_load(Target(port, http_request("/", b"")), connections=1, seconds=1)


def test_it_is_compiled_once(tmp_path: Any) -> None:
    program = build(tmp_path)
    made_at = program.stat().st_mtime_ns
    assert build(tmp_path) == program
    assert program.stat().st_mtime_ns == made_at
    assert [path.name for path in tmp_path.iterdir()] == [program.name]


@pytest.fixture
def grpc_server() -> Iterator[Any]:
    """Yield a gRPC server's port and the messages and tokens that it got; every fourth call of /s/Mixed fails."""
    got: list[tuple[bytes, str | None]] = []
    lock = threading.Lock()

    def note(request: bytes, context: Any) -> int:
        with lock:
            got.append((request, dict(context.invocation_metadata()).get("authorization")))
            return len(got)

    def good(request: bytes, context: Any) -> bytes:
        note(request, context)
        return b"fine" * 1000

    def mixed(request: bytes, context: Any) -> bytes:
        if note(request, context) % 4 == 0:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "every fourth")
        return b""

    methods = {name: grpc.unary_unary_rpc_method_handler(call) for name, call in {"Good": good, "Mixed": mixed}.items()}
    with ThreadPoolExecutor(4) as pool:
        made = grpc.server(pool)
        made.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("s", methods)])
        port = made.add_insecure_port("127.0.0.1:0")
        made.start()
        yield port, got
        made.stop(grace=None).wait()


@pytest.mark.parametrize(("connections", "streams"), [(1, 1), (4, 1), (1, 16), (3, 5)])
def test_grpc_calls_are_counted_and_arrive_as_they_were_given(grpc_server: Any, connections: int, streams: int) -> None:
    port, got = grpc_server
    call = Target(port, b"m" * 200, "/s/Good", "Bearer " + "t" * 300)
    load = run_load(call, connections=connections, streams=streams, seconds=60, requests=700)
    assert (load.requests, load.bad, load.broken) == (700, 0, 0)
    assert len(got) == 700
    assert set(got) == {(b"m" * 200, "Bearer " + "t" * 300)}
    assert load.bytes > 700 * 4000


def test_grpc_messages_beyond_the_servers_window_wait_for_it(grpc_server: Any) -> None:
    port, got = grpc_server
    message = b"m" * 16_000
    load = run_load(Target(port, message, "/s/Good"), connections=1, streams=8, seconds=60, requests=200)
    assert (load.requests, load.bad, len(got)) == (200, 0, 200)
    assert set(got) == {(message, None)}


def test_grpc_calls_that_fail_are_counted(grpc_server: Any) -> None:
    port, _ = grpc_server
    load = run_load(Target(port, b"m", "/s/Mixed"), connections=1, seconds=60, requests=100, allow_bad=True)
    assert (load.requests, load.bad, load.broken) == (100, 25, 0)


def test_a_grpc_method_that_is_not_there_is_refused(grpc_server: Any) -> None:
    port, _ = grpc_server
    with pytest.raises(LoadError, match="20 of 20 answers were bad"):
        run_load(Target(port, b"m", "/s/Nothing"), connections=2, seconds=60, requests=20)
