"""The express protocol on a socket: which way a request goes, and that the bounds on connections hold on both."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from tests.predictor.hotpath.simulated_express import LIMITS, Expressing, expressing, until
from tests.predictor.hotpath.wire import Wire, WireAnswer, chunked, head, request, wire

SMALL = b"x" * 300


@pytest.fixture(params=["uvloop", "asyncio"], scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[Expressing]:
    """A server for tests that leave no connection behind."""
    with expressing(loop=request.param) as server:
        yield server


@pytest.fixture
def hot(shared: Expressing) -> Expressing:
    """The same, with nothing noted."""
    for noted in (shared.app.bodies, shared.app.states, shared.express.bodies, shared.events.refusals):
        noted.clear()
    shared.app.go.clear()
    return shared


def post(body: bytes, *headers: str, target: str = "/hot", **more: Any) -> bytes:
    return request(target, body, *headers, **more)


def refusal(answer: WireAnswer, status: int) -> dict[str, Any]:
    """The problem document of a refusal that ends the connection."""
    assert answer.status == status
    assert answer.closes
    assert answer.header("content-type") == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["request_id"] == answer.header("x-request-id")
    return document


def test_a_request_in_one_piece_takes_the_lane(hot: Expressing) -> None:
    with wire(hot.port) as connection:
        for _ in range(3):
            assert connection.ask(post(SMALL)).body == b"express:" + SMALL
    assert hot.app.bodies == []
    assert hot.express.clients[-1] == "127.0.0.1"


def test_a_body_that_comes_after_its_head_takes_the_lane(hot: Expressing) -> None:
    """As http.client of Python's standard library writes it."""
    raw = post(SMALL)
    start = raw.index(SMALL)
    with wire(hot.port) as connection:
        for cut in (start, start + 1, len(raw) - 1):
            hot.deliver(connection, raw[:cut], raw[cut:])
            assert connection.answer().body == b"express:" + SMALL
    assert hot.app.bodies == []


def test_a_body_in_more_pieces_takes_the_ordinary_way(hot: Expressing) -> None:
    raw = post(SMALL)
    start = raw.index(SMALL)
    with wire(hot.port) as connection:
        hot.deliver(connection, raw[: start + 3], raw[start + 3 : start + 9], raw[start + 9 :])
        assert connection.answer().body == b"ordinary:" + SMALL
        assert connection.ask(post(b"next")).body == b"express:next"


@pytest.mark.parametrize("size", [1, 3])
def test_a_request_in_tiny_pieces_is_answered_once(hot: Expressing, size: int) -> None:
    raw = post(b"0123456789")
    with wire(hot.port) as connection:
        hot.deliver(connection, *(raw[i : i + size] for i in range(0, len(raw), size)))
        assert connection.answer().body == b"ordinary:0123456789"
        assert connection.ask(post(b"next")).body == b"express:next"
    assert hot.events.refusals == []


def test_a_head_in_pieces_takes_the_ordinary_way(hot: Expressing) -> None:
    raw = post(SMALL)
    with wire(hot.port) as connection:
        hot.deliver(connection, raw[:20], raw[20:])
        assert connection.answer().body == b"ordinary:" + SMALL


def test_what_must_wait_takes_the_ordinary_way_with_what_was_found_out(hot: Expressing) -> None:
    with wire(hot.port) as connection:
        assert connection.ask(post(b"wait")).body == b"ordinary:wait"
        hot.deliver(connection, post(b"wait")[:-4], b"wait")
        assert connection.answer().body == b"ordinary:wait"
        assert connection.ask(post(b"next")).body == b"express:next"
    assert [state["begun"] for state in hot.app.states] == ["/hot", "/hot"]
    assert hot.app.bodies == [b"wait", b"wait"]


@pytest.mark.parametrize("size", [15_000, 17_000, 200_000])
@pytest.mark.parametrize("apart", [True, False])
def test_large_requests_take_the_ordinary_way(hot: Expressing, size: int, apart: bool) -> None:
    """What counts is the head with the body, whether they come together or not."""
    body = b"y" * size
    raw = post(body)
    start = len(raw) - size
    expected = b"express:" if size == 15_000 else b"ordinary:"
    with wire(hot.port) as connection:
        if apart:
            hot.deliver(connection, raw[:start])
            connection.send(raw[start:])
        else:
            connection.send(raw)
        answer = connection.answer().body
    assert answer == expected + body


def test_a_length_that_no_body_has_is_left_to_the_ordinary_way(hot: Expressing) -> None:
    """It is not waited for in the lane: the application may refuse it at once."""
    with wire(hot.port) as connection:
        hot.deliver(connection, head("/hot", 99_999_999))
        (protocol,) = hot.protocols
        assert protocol.cycle is not None
        assert not protocol._is_hot


@pytest.mark.parametrize(
    "raw",
    [
        post(SMALL, "Expect: 100-continue"),
        post(SMALL, method="PUT"),
        post(SMALL, method="PATCH"),
        post(SMALL, target="/cold"),
    ],
)
def test_other_requests_take_the_ordinary_way(hot: Expressing, raw: bytes) -> None:
    with wire(hot.port) as connection:
        answer = connection.ask(raw)
        if answer.status == 100:
            answer = connection.answer()
        assert answer.body == b"ordinary:" + SMALL


def test_chunks_are_put_together(hot: Expressing) -> None:
    raw = (
        b"POST /hot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    with wire(hot.port) as connection:
        assert connection.ask(raw).body == b"express:hello world"
        hot.deliver(connection, *(raw[i : i + 7] for i in range(0, len(raw), 7)))
        assert connection.answer().body == b"ordinary:hello world"
        assert connection.ask(*chunked("/hot", SMALL)).body.partition(b":")[2] == SMALL


def test_an_upgrade_is_not_granted_and_the_body_not_lost(hot: Expressing) -> None:
    """Java's HttpClient asks for h2c with its first request."""
    wish = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQBAAAAAAIAAAAA")
    raw = post(SMALL, *wish)
    start = raw.index(SMALL)
    with wire(hot.port) as connection:
        assert connection.ask(raw).body == b"express:" + SMALL
        hot.deliver(connection, raw[:start], raw[start:])
        assert connection.answer().body == b"express:" + SMALL


# Order and connections


def test_pipelined_requests_are_answered_in_their_order(hot: Expressing) -> None:
    names = [b"%d" % number for number in range(20)]
    with wire(hot.port) as connection:
        connection.send(b"".join(post(name) for name in names))
        assert [connection.answer().body for _ in names] == [b"express:" + name for name in names]


def test_a_hot_request_waits_for_a_slow_one_before_it(hot: Expressing) -> None:
    with wire(hot.port) as connection:
        connection.send(post(b"slow", target="/late") + post(b"quick") + post(b"wait"))
        until(lambda: hot.app.bodies == [b"slow"])
        hot.deliver(connection, post(b"later"))
        hot.app.go.set()
        answers = [connection.answer().body for _ in range(4)]
    assert answers == [b"ordinary:slow", b"ordinary:quick", b"ordinary:wait", b"ordinary:later"]


def test_a_slow_request_behind_hot_ones_comes_after_them(hot: Expressing) -> None:
    with wire(hot.port) as connection:
        connection.send(post(b"1") + post(b"wait") + post(b"2") + post(b"3", target="/cold") + post(b"4"))
        answers = [connection.answer().body for _ in range(5)]
    assert answers == [b"express:1", b"ordinary:wait", b"ordinary:2", b"ordinary:3", b"ordinary:4"]


def test_a_piece_may_end_within_the_next_request(hot: Expressing) -> None:
    stream = b"".join(post(b"%d" % number * 40) for number in range(30))
    with wire(hot.port) as connection:
        hot.deliver(connection, *(stream[i : i + 333] for i in range(0, len(stream), 333)))
        bodies = [connection.answer().body.partition(b":")[2] for _ in range(30)]
    assert bodies == [b"%d" % number * 40 for number in range(30)]
    assert hot.events.refusals == []


@pytest.mark.parametrize(
    ("raw", "closes"),
    [
        (post(b"1"), False),
        (post(b"1", "Connection: keep-alive"), False),
        (post(b"1", "Connection: close"), True),
        (post(b"1", version="1.0"), True),
        (post(b"1", "Connection: keep-alive", version="1.0"), True),
    ],
)
def test_connections_are_kept_as_uvicorn_keeps_them(hot: Expressing, raw: bytes, closes: bool) -> None:
    """Of HTTP/1.0 none: its clients cannot tell from the answer that theirs would be."""
    for target in (b"/hot", b"/cold"):
        with wire(hot.port) as connection:
            answer = connection.ask(raw.replace(b"/hot", target))
            assert answer.closes is closes
            if closes:
                assert connection.is_closed()
            else:
                assert connection.ask(post(b"2")).body == b"express:2"


def test_nothing_is_done_after_the_answer_that_closes(hot: Expressing) -> None:
    """A client whose connection closed sends its other requests again, so they must not have had an effect."""
    with wire(hot.port) as connection:
        connection.send(post(b"1", "Connection: close") + post(b"2") + post(b"3", target="/cold") + post(b"4")[:-1])
        assert connection.answer().body == b"express:1"
        assert connection.is_closed()
    assert (hot.express.bodies, hot.app.bodies, hot.events.refusals) == ([b"1"], [], [])


def test_a_server_that_drains_closes_with_its_answer(hot: Expressing) -> None:
    """Whatever else came in the same piece is not looked at: its client will ask elsewhere."""
    hot.express.is_draining = True
    try:
        with wire(hot.port) as connection:
            connection.send(post(b"1") + post(b"2") + post(b"3", target="/cold") + post(b"4")[:-1])
            assert connection.answer().closes
            assert connection.is_closed()
    finally:
        hot.express.is_draining = False
    assert (hot.express.bodies, hot.app.bodies, hot.events.refusals) == ([b"1"], [], [])


def test_a_client_that_leaves_before_its_end_disturbs_nobody(hot: Expressing, caplog: pytest.LogCaptureFixture) -> None:
    raw = post(SMALL)
    for cut in (10, len(raw) - 300, len(raw) - 1):
        with wire(hot.port) as connection:
            hot.deliver(connection, raw[:cut])
        until(lambda: not hot.protocols)
    with wire(hot.port) as connection:
        assert connection.ask(raw).body == b"express:" + SMALL
    assert caplog.records == []


# Bounds


@pytest.fixture(params=["uvloop", "asyncio"])
def bounded(request: pytest.FixtureRequest) -> Iterator[Expressing]:
    """A server with short times and small sizes."""
    with expressing(LIMITS, loop=request.param) as server:
        yield server


def test_a_body_that_stops_is_refused_and_the_application_told(bounded: Expressing) -> None:
    """What came before it stopped was kept for the lane, or not any more."""
    raw = post(SMALL)
    for number, pieces in enumerate(([raw[:-300]], [raw[:-300], b"abc"], [raw[:-300], b"abc", b"def"])):
        with wire(bounded.port) as connection:
            begun = monotonic()
            bounded.deliver(connection, *pieces)
            assert "the body stopped coming" in refusal(connection.answer(), 408)["detail"]
            assert 0.25 < monotonic() - begun < 3
            assert connection.is_closed()
        until(lambda number=number: bounded.app.disconnects == number + 1)  # type: ignore[misc]
    assert bounded.events.refusals == ["request_timeout"] * 3
    assert bounded.express.bodies == []


def test_a_body_that_drips_too_slowly_is_refused(bounded: Expressing) -> None:
    with wire(bounded.port) as connection:
        begun = monotonic()
        bounded.deliver(connection, post(SMALL)[:-300])
        connection.socket.settimeout(0.05)
        while True:
            connection.send(b"x")
            try:
                refusal(connection.answer(), 408)
            except TimeoutError:
                assert monotonic() - begun < 5
                continue
            break


def test_a_body_that_comes_slower_than_heads_may_is_answered() -> None:
    """The time for headers ends with them, also for a request that is kept for the lane."""
    limits = replace(LIMITS, header_seconds=0.1, body_idle_seconds=5)
    with expressing(limits) as patient, wire(patient.port) as connection:
        patient.deliver(connection, post(b"0123456789")[:-10])
        (protocol,) = patient.protocols
        begun = protocol.loop.time()
        until(lambda: protocol.loop.time() > begun + 0.3)
        patient.deliver(connection, b"01234", b"56789")
        assert connection.answer().body.partition(b":")[2] == b"0123456789"
    assert patient.events.refusals == []


def test_a_head_that_stops_is_refused(bounded: Expressing) -> None:
    with wire(bounded.port) as connection:
        assert connection.ask(post(b"1")).body == b"express:1"
        bounded.deliver(connection, post(b"2")[:20])
        assert "the headers were not complete" in refusal(connection.answer(), 408)["detail"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (post(b"1", "X: " + "a" * 4000), 431),
        (post(b"1", *[f"X{i}: 1" for i in range(19)]), 431),
        (post(b"1", target="/hot" + "a" * 1000), 414),
        (post(b"1", "Transfer-Encoding: chunked"), 400),
        (b"POST /hot HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /hot HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1", 400),
        (b"POST /hot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
def test_bounds_on_heads_hold_for_hot_requests(bounded: Expressing, raw: bytes, status: int) -> None:
    for _ in range(2):
        with wire(bounded.port) as connection:
            refusal(connection.ask(raw), status)
            assert connection.is_closed()
    assert bounded.express.bodies == []
    assert bounded.app.bodies == []


def test_a_request_larger_than_heads_may_be_is_answered(bounded: Expressing) -> None:
    """The bound on headers is smaller here than what the lane takes."""
    body = b"y" * 9000
    raw = post(body)
    with wire(bounded.port) as connection:
        for cut in (len(raw), len(raw) - 9000, len(raw) - 4500):
            bounded.deliver(connection, raw[:cut], *[raw[cut:]] * (cut < len(raw)))
            assert connection.answer().body == b"ordinary:" + body
        connection.send(post(b"z" * 300) * 40 + post(b"z" * 300)[:200])
        bounded.deliver(connection, post(b"z" * 300)[200:])
        assert [connection.answer().body.partition(b":")[2] for _ in range(41)] == [b"z" * 300] * 41
    assert bounded.events.refusals == []


def test_connections_are_counted(bounded: Expressing) -> None:
    opened = [socket.create_connection(("127.0.0.1", bounded.port)) for _ in range(20)]
    try:
        assert Wire(opened[0]).ask(post(b"1")).body == b"express:1"
        until(lambda: len(bounded.protocols) == 20)
        with wire(bounded.port) as connection:
            refusal(connection.ask(post(b"1")), 503)
    finally:
        for connection in opened:
            connection.close()


def test_an_idle_connection_is_closed_after_an_answer_of_the_lane() -> None:
    with expressing(keep_alive=0.2) as server, wire(server.port) as connection:
        assert connection.ask(post(b"1") + post(b"2")).body == b"express:1"
        assert connection.answer().body == b"express:2"
        begun = monotonic()
        assert connection.is_closed()
        assert 0.1 < monotonic() - begun < 3


def test_a_slow_answer_after_one_of_the_lane_is_no_idle_connection() -> None:
    """Both requests came in one piece, so the time to be idle had begun."""
    with expressing(keep_alive=0.2) as server, wire(server.port) as connection:
        connection.send(post(b"1") + post(b"2", target="/late"))
        assert connection.answer().body == b"express:1"
        (protocol,) = server.protocols
        begun = protocol.loop.time()
        until(lambda: protocol.loop.time() > begun + 0.5)
        server.app.go.set()
        assert connection.answer().body == b"ordinary:2"


def test_a_client_that_never_reads_is_cut_off(bounded: Expressing) -> None:
    """Its answers fill no more than buffers; then its requests wait, and then the connection ends."""
    bounded.express.answer_size = bounded.app.answer_size = 100_000
    with wire(bounded.port) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            _send_until_refused(connection)
        until(lambda: not bounded.protocols)
    assert 5 < len(bounded.express.bodies) + len(bounded.app.bodies) < 500


def _send_until_refused(connection: Wire) -> None:
    while True:
        connection.send(post(b"1"))


def test_requests_that_wait_for_others_have_a_bound() -> None:
    """Reading stops while many wait: else a client that asks faster than it is answered would fill the memory."""
    few = post(b"1", target="/cold") * 1000
    with expressing() as server, wire(server.port) as connection:
        connection.send(post(b"0", target="/late"))
        until(lambda: server.app.bodies == [b"0"])
        sender = threading.Thread(target=connection.send, args=[few] * 20)
        sender.start()
        (protocol,) = server.protocols
        until(lambda: protocol.flow.read_paused and protocol.pipeline)
        server.app.go.set()
        most = 0
        for _ in range(20_001):
            assert connection.answer().status == 200
            most = max(most, len(protocol.pipeline))
        sender.join()
    assert 100 < most < 10_000  # no more than came in one piece with those that may wait


# The end


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_request_that_is_kept_is_answered_before_the_server_stops(loop: str) -> None:
    with expressing(loop=loop) as server, wire(server.port) as connection:
        server.deliver(connection, post(SMALL)[:-300])
        (protocol,) = server.protocols
        server.server.should_exit = True
        until(lambda: protocol.cycle is not None)  # it was told to shut down
        connection.send(SMALL)
        answer = connection.answer()
        assert answer.body == b"ordinary:" + SMALL
        assert answer.closes
        assert connection.is_closed()


def test_a_refused_connection_begins_nothing_when_the_server_stops(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with expressing(LIMITS) as server, wire(server.port) as connection:
        raw = b"POST /hot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        refusal(connection.ask(raw), 400)
        server.server.should_exit = True
        assert connection.is_closed()
    assert server.app.disconnects == 0
    assert json.dumps([record.getMessage() for record in caplog.records]) == "[]"
