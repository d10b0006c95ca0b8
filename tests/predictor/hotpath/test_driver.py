"""The driver and its frame, called as a server calls them: who answers, what every answer gets, and how faults end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from contract import json_logs
from contract.errors import Malformed
from predictor.hotpath.admission import Admitted
from predictor.hotpath.driver import Driver, DriverParts
from predictor.hotpath.exchange import HttpRequest, Scope
from predictor.hotpath.frame import Exchange, Frame
from predictor.hotpath.late import Late
from predictor.problems import Answer, answer_of
from predictor.security.cors import Cors
from predictor.security.errors import Forbidden, Reason, Unauthenticated

ORIGIN = "https://fleet.example"


@dataclass
class Route:
    """A hot route that does what the test says, and keeps what came."""

    template: str = "/score"
    scope: Scope | None = "telemetry:score"
    at_once: Callable[[HttpRequest], Answer | None] = lambda _: None
    later: Callable[[HttpRequest], Any] | None = None
    came: list[HttpRequest] = field(default_factory=list)

    def quick(self, request: HttpRequest) -> Answer | None:
        self.came.append(request)
        return self.at_once(request)

    async def answer(self, request: HttpRequest) -> Answer:
        if self.later is not None:
            await self.later(request)
        return Answer(200, b"thorough:" + request.body)

    def error_answer(self, error: Exception, request_id: str) -> Answer:
        return answer_of(error, request_id=request_id, path=self.template)


@dataclass
class Routes:
    """The protocol, of one route."""

    one: Route
    asked: list[tuple[str, str]] = field(default_factory=list)

    def route(self, method: str, path: str) -> Route:
        self.asked.append((method, path))
        return self.one


class Doorkeeper:
    """Knows the token ``known`` at once and ``good`` after a while, and lets nobody else pass."""

    def quick(self, authorization: bytes | None, scope: Scope | None, client: str) -> Admitted | None:
        assert client == "10.0.0.7"
        if authorization is None:
            raise Unauthenticated(Reason.MISSING, "a token is needed")
        return Admitted("fleet", ((b"ratelimit", b"r=1"),)) if authorization == b"known" or scope is None else None

    async def full(self, authorization: bytes | None, scope: Scope | None, client: str) -> Admitted:
        assert client == "10.0.0.7"
        await asyncio.sleep(0)
        if authorization != b"good":
            raise Forbidden(str(scope), set())
        return Admitted("fleet", ((b"ratelimit", b"r=2"),))


@dataclass
class Observer:
    """Keeps what it was told, and under which request id the log would have been written."""

    begun: list[str] = field(default_factory=list)
    ended: list[tuple[str, str, int, int]] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)

    def begin(self, exchange: Exchange) -> None:
        self.begun.append(exchange.path)

    def enter(self, exchange: Exchange) -> None:
        self.ids.append(json_logs.request_id.get())
        assert self.ids[-1] == exchange.request_id

    def end(self, exchange: Exchange, seconds: float) -> None:
        assert 0 <= seconds < 10
        self.ended.append((exchange.method, exchange.route, exchange.status, exchange.size))


@dataclass
class Answered:
    """What was sent for a request."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    is_complete: bool = False

    @property
    def fields(self) -> dict[str, str]:
        fields = {name.decode(): value.decode() for name, value in self.headers}
        assert len(fields) == len(self.headers)
        return fields


@dataclass
class Scene:
    """A driver and everything around it."""

    score: Route = field(default_factory=Route)
    inference: Route = field(default_factory=lambda: Route("/v2/models/{name}/infer"))
    observer: Observer = field(default_factory=Observer)
    facade_calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.routes = Routes(self.inference)
        self.protocol: Late[Any] = Late()
        self.facade: Late[Any] = Late()
        self.frame = Frame(Doorkeeper(), self.observer, Cors([ORIGIN]))
        self.driver = Driver(
            DriverParts(self.score, self.protocol, self.facade, self.frame, 100, self._lifespan)  # type: ignore[arg-type]
        )

    def build(self) -> None:
        """Have the later parts there."""
        self.protocol.set(self.routes)
        self.facade.set(self._facade)

    async def _facade(self, scope: Any, receive: Any, send: Any) -> None:
        self.facade_calls.append(scope["path"])
        if scope["path"] == "/broken":
            raise RuntimeError("a disk on fire")
        if scope["path"] == "/half":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            raise RuntimeError("a disk on fire")
        if scope["path"] == "/stuck":
            await asyncio.Event().wait()
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": "http.response.body", "body": b"facade"})

    async def _lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        await send({"type": "lifespan.startup.complete"})

    async def ask(self, path: str = "/score", *pieces: bytes, method: str = "POST", **headers: str) -> Answered:
        """Send a request whose body comes in pieces; underscores in names of headers stand for dashes."""
        fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "method": method, "path": path, "query_string": b"a=b", "headers": fields,
            "client": ("10.0.0.7", 4711), "state": {},
        }  # fmt: skip
        waiting = list(pieces or (b"",))
        answered = Answered()

        async def receive() -> Any:
            if not waiting:
                await asyncio.Event().wait()
            if waiting[0] == b"(gone)":  # and stays so
                return {"type": "http.disconnect"}
            piece = waiting.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert not answered.status
                answered.status, answered.headers = message["status"], message["headers"]
            else:
                answered.body += message["body"]
                answered.is_complete = not message.get("more_body", False)

        await self.driver(scope, receive, send)
        assert answered.is_complete
        return answered


@pytest.fixture
def scene() -> Scene:
    return Scene()


KNOWN = {"authorization": "known"}


async def _in_time(work: Any) -> Any:
    async with asyncio.timeout(10):
        return await work


def run(work: Any) -> Any:
    return asyncio.run(_in_time(work))


def test_score_is_answered_before_anything_else_is_built(scene: Scene) -> None:
    answered = run(scene.ask("/score", b"one ", b"two", **KNOWN))
    assert (answered.status, answered.body) == (200, b"thorough:one two")
    (request,) = scene.score.came
    assert (request.method, request.path, request.query, request.body) == ("POST", "/score", b"a=b", b"one two")
    assert request.request_id == answered.fields["x-request-id"]
    assert scene.observer.ended == [("POST", "/score", 200, 16)]


def test_what_can_be_answered_quickly_is(scene: Scene) -> None:
    scene.score.at_once = lambda request: Answer(200, b"quick:" + request.body, {"X-More": "1"}, "text/plain")
    answered = run(scene.ask("/score", b"1", **KNOWN))
    assert answered.body == b"quick:1"
    assert answered.fields["content-type"] == "text/plain"
    assert answered.fields["content-length"] == "7"
    assert answered.fields["x-more"] == "1"


def test_other_paths_wait_until_all_is_built(scene: Scene) -> None:
    async def asked() -> list[Answered]:
        waiting = [
            asyncio.ensure_future(scene.ask("/v2/models/m/infer", b"v2", **KNOWN)),
            asyncio.ensure_future(scene.ask("/healthz", method="GET")),
            asyncio.ensure_future(scene.ask("/score", method="GET", **KNOWN)),
        ]
        await scene.ask("/score", b"1", **KNOWN)
        assert not any(one.done() for one in waiting)
        scene.build()
        return list(await asyncio.gather(*waiting))

    protocol, health, score = run(asked())
    assert (protocol.body, health.body, score.body) == (b"thorough:v2", b"facade", b"facade")
    assert scene.routes.asked == [("POST", "/v2/models/m/infer")]
    assert scene.facade_calls == ["/healthz", "/score"]


def test_what_will_never_be_built_is_said_to_be_away(scene: Scene) -> None:
    scene.protocol.fail(RuntimeError("no port"))
    answered = run(scene.ask("/v2", method="GET"))
    assert answered.status == 503
    assert int(answered.fields["retry-after"]) > 0
    assert b"no port" not in answered.body
    assert scene.observer.ended[0][2] == 503


def test_a_request_that_waits_when_the_server_stops_is_told_so(scene: Scene) -> None:
    """Whatever it waits for; the one to come, the next to be answered, or the facade."""

    async def stopped(path: str) -> Answered:
        task = asyncio.ensure_future(scene.ask(path, b"1", **KNOWN))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        return await task

    async def forever(_: HttpRequest) -> None:
        await asyncio.Event().wait()

    async def all_of_them() -> list[Answered]:
        unbuilt = await stopped("/v2")
        scene.build()
        scene.score.later = forever
        return [unbuilt, await stopped("/score"), await stopped("/stuck")]

    for answered in run(all_of_them()):
        assert answered.status == 503
        assert b"urn:telltale:problem:shutting-down" in answered.body


def test_tokens_are_asked_for_what_needs_them(scene: Scene) -> None:
    scene.build()
    known, good, none, bad = (
        run(scene.ask("/score", b"1", **headers))
        for headers in (KNOWN, {"authorization": "good"}, {}, {"authorization": "bad"})
    )
    assert [one.status for one in (known, good, none, bad)] == [200, 200, 401, 403]
    assert (known.fields["ratelimit"], good.fields["ratelimit"]) == ("r=1", "r=2")
    assert none.fields["www-authenticate"] == 'Bearer realm="telltale"'
    assert len(scene.score.came) == 2
    assert run(scene.ask("/models", method="GET")).status == 401
    assert run(scene.ask("/ingest/1", method="GET")).status == 401
    assert run(scene.ask("/healthz", method="GET")).status == 200


def test_a_route_that_needs_no_token_reads_no_body(scene: Scene) -> None:
    """Nobody without a token keeps bytes here."""
    scene.build()
    scene.inference.scope = None
    assert run(scene.ask("/v2/health/live", b"x" * 60, b"y" * 60, method="GET")).body == b"thorough:"


@pytest.mark.parametrize(
    ("pieces", "headers", "status", "closes"),
    [
        ((b"x" * 100,), {}, 200, False),
        ((b"x" * 60, b"y" * 40), {}, 200, False),
        ((b"x" * 101,), {}, 413, False),
        ((b"x" * 60, b"y" * 60), {}, 413, False),
        ((b"x" * 60, b"y" * 60, b"z"), {"transfer_encoding": "chunked"}, 413, True),
        ((b"",), {"content_length": "101"}, 413, False),
        ((b"x", b"y"), {"content_length": "9" * 30}, 413, True),
        ((b"x", b"(gone)"), {}, 400, False),
    ],
)
def test_bodies_have_a_bound(
    scene: Scene, pieces: tuple[bytes, ...], headers: dict[str, str], status: int, closes: bool
) -> None:
    """A refused one keeps its connection where little is still to come, and closes it where much may be."""
    answered = run(scene.ask("/score", *pieces, **KNOWN, **headers))
    assert answered.status == status
    assert ("connection" in answered.fields) is closes
    assert len(scene.score.came) == (status == 200)


def test_what_a_route_refuses_is_answered_in_its_form(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def refuses(_: HttpRequest) -> Answer:
        raise Malformed("the body must be JSON")

    scene.score.at_once = refuses
    answered = run(scene.ask("/score", b"1", **KNOWN, x_request_id="mine"))
    assert answered.status == 400
    assert b'"request_id":"mine"' in answered.body
    assert caplog.records == []


@pytest.mark.parametrize("path", ["/score", "/v2", "/broken"])
def test_what_nobody_expected_is_a_500_without_its_cause(
    scene: Scene, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The cause is in the log, once."""
    scene.build()

    async def burns(_: HttpRequest) -> None:
        raise RuntimeError("a disk on fire")

    scene.score.later = scene.inference.later = burns
    answered = run(scene.ask(path, b"1", **KNOWN))
    assert answered.status == 500
    assert b"disk" not in answered.body
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert "a disk on fire" in caplog.text
    assert scene.observer.ended[0][2] == 500


def test_an_answer_that_breaks_off_is_not_made_to_look_whole(scene: Scene) -> None:
    """The server then closes the connection."""
    scene.build()
    with pytest.raises(RuntimeError, match="fire"):
        run(scene.ask("/half"))
    assert scene.observer.ended == [("POST", "(none)", 200, 0)]


def test_browsers_are_told_what_they_may_do(scene: Scene) -> None:
    scene.build()
    asks = {"origin": ORIGIN, "access_control_request_method": "POST"}
    for path in ("/score", "/v2/models/m/infer", "/ingest"):
        answered = run(scene.ask(path, method="OPTIONS", **asks))
        assert answered.status == 204
        assert answered.fields["access-control-allow-origin"] == ORIGIN
        # 204 has neither a length nor a type: there is nothing.
        assert {"content-length", "content-type"}.isdisjoint(answered.fields)
        assert run(scene.ask(path, b"1", origin=ORIGIN, **KNOWN)).fields["access-control-allow-origin"] == ORIGIN
    assert scene.score.came[0].method == "POST"


def test_every_answer_carries_the_request_id(scene: Scene) -> None:
    """The client's own where it is a sane one; and log lines carry it from the beginning."""
    scene.build()
    paths = ("/score", "/v2", "/healthz", "/broken")
    answered = [run(scene.ask(path, b"1", **KNOWN, x_request_id=f"mine {path}")) for path in paths]
    assert [one.fields["x-request-id"] for one in answered] == [f"mine {path}" for path in paths]
    assert scene.observer.ids == [f"mine {path}" for path in paths]
    for insane in ("", "x" * 129, "a\tb", "é"):
        made = run(scene.ask("/score", b"1", **KNOWN, x_request_id=insane)).fields["x-request-id"]
        assert len(made) == 32
        assert made != insane


def test_a_frame_that_drains_closes_each_connection(scene: Scene) -> None:
    scene.build()
    scene.frame.drain()
    for path in ("/score", "/v2", "/healthz", "/broken"):
        assert run(scene.ask(path, b"1", **KNOWN)).fields["connection"] == "close"
    assert run(scene.ask("/score", b"x" * 200, b"y", **KNOWN)).fields["connection"] == "close"


def test_the_life_of_the_server_is_somebody_elses(scene: Scene) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    run(scene.driver({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete"]
