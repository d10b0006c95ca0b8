"""Blocks of requests, and counting their answers."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from soak.blocks import Block, Marks, Plan, Shares
from soak.errors import ServerGone
from soak.http_kinds import greedy_kind, hot_kinds, mixed_kinds
from soak.kinds import NUMBER, TOKEN_MARK, Kind, http
from soak.pipelining import Pipelining
from soak.tally import Tally
from soak.tokens import Tokens

TOKENS = Tokens(3, now=1_700_000_000)
KINDS = (Kind("good", http("GET", "/good"), 200, rows=2), Kind("bad", http("GET", "/bad"), 400))


@contextmanager
def answering(statuses: Sequence[int], pieces: int) -> Iterator[int]:
    """A server that answers one connection's requests by these statuses, in so many pieces, and closes."""
    said = b"".join(b"HTTP/1.1 %d Said\r\nContent-Length: 2\r\n\r\nok" % status for status in statuses)

    def serve() -> None:
        connection, _ = listening.accept()
        # The client leaves as soon as it has seen the last status.
        with connection, contextlib.suppress(ConnectionError):
            connection.recv(65536)
            size = len(said) // pieces + 1
            for start in range(0, len(said), size):
                connection.sendall(said[start : start + size])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def block(kinds: Sequence[Kind] = KINDS, **options: bool) -> Block:
    """A block of these kinds."""
    return Block(kinds, itertools.cycle(TOKENS.good), Marks(TOKENS), **options)


def sent(statuses: Sequence[int], *, pieces: int = 1, what: Block | None = None) -> Tally:
    """What is counted when a block is answered so."""
    tally = Tally()
    with answering(statuses, pieces) as port:
        Pipelining(port, tally, connections=1).run(iter([what or block()]))
    return tally


@pytest.mark.parametrize("pieces", [1, 7, 60])
def test_right_answers_are_counted_by_kind_however_they_are_cut(pieces: int) -> None:
    """Status lines are found across pieces, each once."""
    tally = sent([200, 400], pieces=pieces)
    assert (tally.by_kind, tally.wrong, tally.rows, tally.requests) == ({"good": 1, "bad": 1}, {}, 2, 2)
    assert tally.logged == {200: 1, 400: 1}


def test_a_wrong_status_names_its_kind() -> None:
    """And what it should have been."""
    assert sent([200, 500]).wrong == {"bad: 500 instead of 400": 1}


def test_answers_in_another_order_are_wrong() -> None:
    """Counts alone would not show it."""
    assert sent([400, 200]).wrong == {"good: 400 instead of 200": 1, "bad: 200 instead of 400": 1}


def test_a_connection_that_ends_too_early_is_a_fault() -> None:
    """It names the request that got no answer."""
    tally = sent([200])
    assert tally.wrong == {"the connection ended under 'bad', after 1 answers": 1}
    assert tally.requests == 0


def test_a_greedy_request_may_be_refused_and_is_then_not_scored() -> None:
    """Either answer is right, and both are counted."""
    tally = sent([200, 429], what=block([KINDS[0]] * 2, may_be_limited=True))
    assert (tally.wrong, tally.limited, tally.rows) == ({}, 1, 2)
    assert tally.logged == {200: 1, 429: 1}


def test_marks_are_made_anew_each_time() -> None:
    """Numbers and tokens are never used twice, and the length of a request stays what its header says."""
    mark = (TOKEN_MARK * TOKENS.fresh_length).decode()
    kind = Kind("marked", http("POST", "/score", b'{"n": "' + NUMBER + b'"}', token=mark), 200)
    marked = block([kind, kind])
    first, second = marked.fresh(), marked.fresh()
    assert len(first) == len(second) == 2 * len(kind.request)
    assert len({first[: len(first) // 2], first[len(first) // 2 :], second[: len(second) // 2]}) == 3
    assert NUMBER not in first
    assert TOKEN_MARK * 20 not in first


def test_a_plan_has_as_many_requests_as_were_asked_for_and_all_its_sorts() -> None:
    """The greedy subject's come in a row."""
    plan = Plan(TOKENS, hot_kinds(TOKENS), mixed_kinds(TOKENS), greedy_kind(TOKENS), seed=1)
    blocks = list(plan.blocks(20_017, 20, Shares(mixed=0.25, greedy=0.1)))
    assert sum(map(len, blocks)) == 20_017
    greedy = [place for place, one in enumerate(blocks) if one.may_be_limited]
    assert 60 <= len(greedy) <= 100
    assert greedy[1] - greedy[0] == 1
    mixed = [one for one in blocks if any(kind.name == "/healthz" or kind.status >= 404 for kind in one.kinds)]
    assert len(mixed) > 150


def test_small_blocks_of_hot_requests_fit_into_the_express_lane() -> None:
    """It takes no more than 16 KiB in one piece."""
    plan = Plan(Tokens(300), hot_kinds(TOKENS), mixed_kinds(TOKENS), greedy_kind(TOKENS), seed=1)
    sizes = [len(one.fresh()) for one in plan.blocks(24 * 50, 24, Shares(mixed=0, greedy=0))]
    assert max(sizes) <= 16 * 1024


def test_a_server_that_is_not_there_ends_the_run() -> None:
    """It is no wrong answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ServerGone, match="takes no connection"):
        Pipelining(port, Tally()).run(iter([block()]))
