"""Requests over HTTP as bytes: odd but well-formed ones must be answered, broken ones must do no harm.

Well-formed is meant by RFC 9112, made so by construction: whatever is in the head, framing is right. A broken request
may be answered or have its connection closed; either must come soon, and the server must live on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.aftermath import Aftermath
from fuzz.answers import Complaint, check_any
from fuzz.damage import changed_bytes, changed_path
from fuzz.http_exchange import Answered, Connection, Dropped, Hung
from fuzz.predictor_process import PredictorProcess
from fuzz.rounds import Outcome, Progress, Rounds
from fuzz.tally import Tally

NAME = "http-heads"
_HANG_SECONDS = 20.0
_MOMENT_SECONDS = 0.001
_SCORE = b'{"vehicle_id": "VH-1", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [1, 2, 3, 4]}'
_INFER = b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}]}'
_HOT = ("/score", "/v2/models/default/infer", "/v2/models/default/versions/20240101000000/infer")
_PATHS = (
    *_HOT, *_HOT, *_HOT, "/score", "/v2", "/v2/models/default", "/v2/health/ready", "/v2/repository/index",
    "/v1/models", "/v1/models/default:predict", "/models", "/models/default/versions", "/health", "/metrics",
    "/healthz", "/ingest", "/ingest/x", "/openapi.json", "/docs", "/", "*", "/nothing",
)  # fmt: skip
_METHODS = ("GET",) * 3 + ("POST",) * 3 + ("PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "PROPFIND")
_NAME_CHARACTERS = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUE_CHARACTERS = st.sampled_from("\t" + "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x100)])))
_ODD_HEADERS = (
    ("Connection", "close"), ("Connection", "keep-alive"), ("Connection", "upgrade"), ("Upgrade", "websocket"),
    ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"), ("Expect", "100-continue"), ("TE", "trailers"),
    ("Authorization", ""), ("Authorization", "Bearer"), ("Authorization", "Bearer a.b.c"),
    ("Authorization", "Basic eA=="),
    ("Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."), ("Authorization", "Bearer \xff"), ("Origin", "null"),
    ("Authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.W10.AA"), ("Origin", "https://x.example"), ("Cookie", "a=b"),
    ("Access-Control-Request-Method", "POST"), ("X-Request-Id", "\xa0"), ("X-Request-Id", "x" * 500),
    ("X-Forwarded-For", "unknown, , ::1"), ("Range", "bytes=0-1"), ("If-None-Match", "*"), ("Accept-Encoding", "gzip"),
    ("traceparent", "00-" + "0" * 32 + "-" + "0" * 16 + "-00"), ("baggage", "a=" + "b" * 900),
    ("Content-Type", "\xff/x"),
)  # fmt: skip
_name = st.text(_NAME_CHARACTERS, min_size=1, max_size=12).filter(
    lambda name: name.lower() not in ("content-length", "transfer-encoding", "host", "connection", "upgrade", "expect")
)
_value = st.text(_VALUE_CHARACTERS, max_size=30).map(str.strip)
_header = st.sampled_from(_ODD_HEADERS) | st.tuples(_name, _value)
_chunk_extension = st.sampled_from(("", ";x", ';x="y"'))


@dataclass(frozen=True)
class Wire:
    """What is sent.

    Args:
        pieces: sent one after the other.
        methods: of the requests in it, one answer for each; empty where the bytes are broken.
        paths: of the same requests.

    """

    pieces: tuple[bytes, ...]
    methods: tuple[str, ...]
    paths: tuple[str, ...]

    @property
    def data(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces)


def run(server: PredictorProcess, *, seconds: float, seed: int, progress: Progress, name: str = NAME) -> Tally:
    """Fuzz for some seconds and return what came of it."""
    tally = Tally(name)
    target = HeadTarget(server, tally)
    Rounds(tally, seed=seed, progress=progress).run(wires(tuple(server.credentials)), target.attempt, seconds)
    target.end()
    return tally


@st.composite
def wires(draw: st.DrawFn, credentials: tuple[tuple[str, str], ...]) -> Wire:
    """Draw well-formed requests, one or some in a row, in pieces; half of them are then broken."""
    several = draw(st.sampled_from((1, 1, 1, 2, 3)))
    made = [draw(_requests(credentials, alone=several == 1)) for _ in range(several)]
    data = b"".join(data for _, _, data in made)
    if draw(st.booleans()):
        for _ in range(draw(st.integers(1, 3))):
            data = changed_bytes(draw, data)
        return Wire((data,), (), ())
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    pieces = tuple(data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True))
    return Wire(pieces, tuple(method for method, _, _ in made), tuple(path for _, path, _ in made))


@st.composite
def _requests(draw: st.DrawFn, credentials: tuple[tuple[str, str], ...], *, alone: bool) -> tuple[str, str, bytes]:
    """Draw a well-formed request: its method, its path, its bytes."""
    method, path = draw(st.sampled_from(_METHODS)), draw(st.sampled_from(_PATHS))
    bodies: tuple[bytes, ...] = (b"", b"", _SCORE, b"{}", b"x" * 3000)
    if path in _HOT and draw(st.booleans()):
        method, bodies = "POST", (_SCORE if path == "/score" else _INFER,)
    elif path != "*" and draw(st.booleans()):
        path = changed_path(draw, path)
    if path == "*":
        method = "OPTIONS"
    headers = draw(st.lists(_header, max_size=6))
    if not alone:  # what ends the connection would take the next one's answer away
        headers = [pair for pair in headers if pair[0] not in ("Connection", "Upgrade", "Expect")]
    if draw(st.integers(0, 3)):
        headers += [*credentials, ("Content-Type", "application/json")]
    body, framing = draw(_framed(draw(st.sampled_from(bodies))))
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers), framing]
    return method, path, "\r\n".join([*filter(None, lines), "", ""]).encode("latin-1") + body


@st.composite
def _framed(draw: st.DrawFn, body: bytes) -> tuple[bytes, str]:
    """Draw how a body is framed: its bytes as sent, and the header that says so."""
    if draw(st.booleans()):
        return body, f"Content-Length: {len(body)}" if body else draw(st.sampled_from(("", "Content-Length: 0")))
    sent, rest = b"", body
    while rest:
        size = draw(st.integers(1, len(rest)))
        sent += f"{size:x}{draw(_chunk_extension)}\r\n".encode() + rest[:size] + b"\r\n"
        rest = rest[size:] if len(sent) < 500 else b""
    trailer = draw(st.sampled_from((b"", b"X-Trailer: y\r\n")))
    return sent + b"0\r\n" + trailer + b"\r\n", "Transfer-Encoding: chunked"


class HeadTarget:
    """Sends bytes and judges what comes back.

    Args:
        server: the server under test.
        tally: where its deaths are counted.
        hang_seconds: how long an answer may take.

    """

    def __init__(self, server: PredictorProcess, tally: Tally, *, hang_seconds: float = _HANG_SECONDS) -> None:
        self._server = server
        self._aftermath = Aftermath(server, tally)
        self._hang_seconds = hang_seconds

    def attempt(self, wire: Wire) -> Outcome:
        """Send one."""
        answers: list[Answered] = []
        hung = dropped = False
        try:
            wrong = self._exchange(wire, answers)
        except Hung as hang:
            hung, wrong = True, Complaint("no answer in time", str(hang))
        except Dropped as drop:
            dropped, wrong = True, Complaint("a connection ends without an answer", str(drop))
        wrong = self._aftermath.judge(wrong, hung=hung, dropped=dropped)
        statuses = {answer.status for answer in answers}
        answer_class = f"{max(statuses) // 100}xx" if statuses else "closed"
        if wrong is None:
            return Outcome(answer_class)
        form = "well-formed" if wire.methods else "broken"
        cut = f"in pieces of {[len(piece) for piece in wire.pieces]} bytes"
        return Outcome(answer_class, f"{wrong.kind}, {form}", f"{cut}\n{wrong.detail}", wire.data)

    def end(self) -> None:
        """Look a last time."""
        self._aftermath.end()

    def replay(self, data: bytes) -> str:
        """Send kept bytes and return what comes back, in words."""
        connection = Connection(self._server.port, timeout=self._hang_seconds)
        connection.send(data)
        connection.half_close()
        try:
            back = repr(connection.rest()[:4000])
        except Dropped as drop:
            back = str(drop)
        connection.close()
        return f"{back}; {self._server.end_of_life_soon() or 'the server lives'}"

    def _exchange(self, wire: Wire, answers: list[Answered]) -> Complaint | None:
        connection = Connection(self._server.port, timeout=self._hang_seconds)
        try:
            for place, piece in enumerate(wire.pieces):
                if place:
                    time.sleep(_MOMENT_SECONDS)
                connection.send(piece)
            if not wire.methods:
                return self._broken(connection, answers)
            for method, path in zip(wire.methods, wire.paths, strict=True):
                answers.append(connection.answer(method))
                wrong = check_any(path, answers[-1], method=method)
                if wrong is not None or "close" in answers[-1].headers.get("connection", ""):
                    return wrong
            return None
        finally:
            connection.close()

    def _broken(self, connection: Connection, answers: list[Answered]) -> Complaint | None:
        """Judge what comes for broken bytes: nothing, or answers that are not 5xx; then the end."""
        connection.half_close()
        rest = connection.rest()
        heads = [line for line in rest.split(b"\r\n") if line.startswith(b"HTTP/1.1 ") and line[9:12].isdigit()]
        answers += [Answered(int(head[9:12]), {}, b"") for head in heads]
        worst = [answer for answer in answers if answer.status >= 500]
        if worst:
            return Complaint(f"status {worst[0].status}", repr(rest[:1000]))
        return None
