"""Requests that end their connection: damaged, too large, cut off, or on a connection that is used once. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from soak import bodies
from soak.http_kinds import MAX_BODY_BYTES
from soak.kinds import ABORTED, Kind, chunked, document, http
from soak.tokens import Tokens

_CLOSE = {"Connection": "close"}
_SCORE = document(bodies.record(vehicle_id="VH-once"))


@dataclass(frozen=True)
class Ending:
    """A request on a connection of its own.

    Args:
        kind: what is sent, and what must come back in the end.
        interim: whether 100 comes before that.

    """

    kind: Kind
    interim: bool = False


def ending_kinds(tokens: Tokens) -> list[Ending]:
    """Return those that are answered, or cut off, at once."""
    token = tokens.good[0]
    return [*_once(token), *_too_much(token), *_damaged(), *_cut_off(token)]


def slow_kinds(tokens: Tokens) -> list[Ending]:
    """Return those that the server waits for until it has had enough."""
    token = tokens.good[1]
    head = http("POST", "/score", _SCORE, token=token)
    large = http("POST", "/score", b"", token=token, headers={"Content-Length": "100000"})
    return [
        Ending(Kind("a head that never ends", head[:60], 408, logged=None)),
        Ending(Kind("a small body that never ends", head[:-10], 408, logged=400)),
        Ending(Kind("a large body that never ends", large + b"[" * 50_000, 408, logged=400)),
    ]


def _once(token: str) -> list[Ending]:
    score = http("POST", "/score", _SCORE, token=token, headers=_CLOSE)
    upgrade = {"Connection": "Upgrade, HTTP2-Settings, close", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}
    waiting = {**_CLOSE, "Expect": "100-continue"}
    return [
        Ending(Kind("/score, one connection", score, 200, 10, rows=1)),
        Ending(Kind("HTTP/1.0", score.replace(b"HTTP/1.1", b"HTTP/1.0"), 200, 2, rows=1)),
        Ending(Kind("upgrade", http("POST", "/score", _SCORE, token=token, headers=upgrade), 200, 2, rows=1)),
        Ending(Kind("expect", http("POST", "/score", _SCORE, token=token, headers=waiting), 200, 2, rows=1), True),
        Ending(Kind("health, one connection", http("GET", "/healthz", headers=_CLOSE), 200, 3)),
    ]


def _too_much(token: str) -> list[Ending]:
    large = http("POST", "/score", b"", token=token, headers={"Content-Length": str(10**9)}) + b"["
    chunks = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    body = chunked(b" " * (2 * MAX_BODY_BYTES), 8192)
    fields = {f"X-Field-{number}": "x" * 1000 for number in range(40)}
    return [
        Ending(Kind("too large a body", large, 413, 3)),
        Ending(Kind("too large a body, chunked", http("POST", "/score", body, token=token, headers=chunks), 413, 1)),
        Ending(Kind("too large a head", http("GET", "/healthz", headers=fields), 431, 1, logged=None)),
        Ending(Kind("too long a path", http("GET", f"/{'x' * 9000}"), 414, 1, logged=None)),
    ]


def _damaged() -> list[Ending]:
    two_lengths = http("POST", "/score", _SCORE).replace(b"\r\n", b"\r\nContent-Length: 1\r\n", 1)
    return [
        Ending(Kind("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, 2, logged=None)),
        Ending(Kind("two lengths", two_lengths, 400, 1, logged=None)),
        Ending(Kind("CONNECT", b"CONNECT soak:1 HTTP/1.1\r\nHost: soak\r\n\r\n", 405, 1, logged=None)),
    ]


def _cut_off(token: str) -> list[Ending]:
    score = http("POST", "/score", _SCORE, token=token)
    large = http("POST", "/score", b"", token=token, headers={"Content-Length": "100000"}) + b"[" * 30_000
    return [
        Ending(Kind("cut off in its head", score[:40], ABORTED, 2, logged=None)),
        Ending(Kind("cut off in a small body", score[:-10], ABORTED, 2, logged=None)),
        Ending(Kind("cut off in a large body", large, ABORTED, 2, logged=400)),
        Ending(Kind("gone before its answer", score, ABORTED, 2, rows=1, logged=200)),
    ]
