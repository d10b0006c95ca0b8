"""What becomes of watches where the API server stumbles: on one that a thread plays, else on an operator that fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import aiohttp
import kopf
import pytest
from kopf._cogs.aiokits import aiotasks
from kopf._cogs.clients.errors import APIClientError, APIServerError, APISessionClosed
from kopf._cogs.clients.watching import WatchingError

from registry import watching
from registry.kubernetes.resources import SERVED_MODELS
from registry.work_queue import Key

CARS = {"metadata": {"name": "cars", "namespace": "fleet", "uid": "1", "generation": 1, "resourceVersion": "2"}}
GROUP = {
    "name": SERVED_MODELS.group,
    "versions": [{"version": SERVED_MODELS.version}],
    "preferredVersion": {"version": SERVED_MODELS.version},
}
KIND = {"name": "servedmodels", "kind": "ServedModel", "singularName": "servedmodel", "namespaced": True}
NAMESPACE = {"name": "namespaces", "kind": "Namespace", "singularName": "namespace", "namespaced": False}
VERBS = {"verbs": ["list", "watch", "patch"]}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    real = watching.watch_settings

    def settings() -> kopf.OperatorSettings:
        found = real()
        found.networking.error_backoffs = (0.01,)
        return found

    async def wait(tasks: Any, **given: Any) -> Any:
        return await wait_for_long(tasks, **(given | ({"timeout": 0.05} if given.get("timeout") else {})))

    wait_for_long = aiotasks.wait
    # When it fails kopf waits 5 s for a task of its own that does not end by itself.
    monkeypatch.setattr(aiotasks, "wait", wait)
    monkeypatch.setattr(watching, "watch_settings", settings)
    monkeypatch.setattr(watching, "_FIRST_PAUSE_SECONDS", 0.01)


class Operator:
    """Stands for kopf's operator: fails as it is told, then returns."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.runs = list(failures), 0

    async def __call__(self, **_: Any) -> None:
        self.runs += 1
        if self.failures:
            raise self.failures.pop(0)


def answered(status: int) -> APIClientError:
    """Return what kopf raises at an answer."""
    return APIClientError("the continue token is too old", status=status, headers={})


@pytest.mark.parametrize(
    ("field", "now", "is_news"),
    [
        ("generation", {"generation": 2, "resourceVersion": "9"}, True),
        ("generation", {"generation": 1, "resourceVersion": "9"}, False),  # a status, which we write alone
        ("resourceVersion", {"generation": 1, "resourceVersion": "9"}, True),
        ("resourceVersion", {"generation": 1, "resourceVersion": "8"}, False),  # listed again, and as it was
    ],
)
def test_what_is_listed_again_as_it_was_is_no_news(field: str, now: dict[str, Any], is_news: bool) -> None:
    def event(kind: str | None, **metadata: Any) -> kopf.RawEvent:
        return {"type": kind, "object": {"metadata": {"uid": "1", **metadata}}}  # type: ignore[typeddict-item]

    news = watching._News(field)
    assert news.is_in(event("ADDED", generation=1, resourceVersion="8"))
    assert news.is_in(event(None, **now)) is is_news
    assert news.is_in(event("DELETED", **now))
    assert news.is_in(event("ADDED", **now)), "one that is made again is new"


def run(monkeypatch: pytest.MonkeyPatch, operator: Operator, *, stopped: bool = False) -> None:
    """Watch until the operator returns, or raises what is not ours to mend."""
    monkeypatch.setattr(kopf, "operator", operator)

    async def watch() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        if stopped:
            stop.set()
        await watching.watch(lambda _key, _hurry: None, ["fleet"], stop, ready)

    asyncio.run(watch())


class ApiServer:
    """Answers what kopf asks for; each fault once for each time that it is given."""

    def __init__(self, faults: list[str]) -> None:
        self.faults, self.met, self.ended = faults, list[str](), Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.answer(self)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        thread = Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.ended.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join(10)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        is_watch = "watch=true" in query
        kind = "watch" if is_watch else "list" if path.endswith("/servedmodels") else "discovery"
        fault = self.faults[0] if self.faults and self.faults[0].startswith(kind) else None
        if fault is not None:
            self.met.append(self.faults.pop(0))
        status = 500 if fault == f"{kind} 500" else 200
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.end_headers()
        if status != 200:
            return
        if not is_watch:
            request.wfile.write(json.dumps(self._document(path)).encode())
        elif fault == "watch ERROR":
            self._say(request, {"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd"}})
        elif fault == "watch cut off":
            request.wfile.write(b'{"type": "ADDED", "obj')
        else:
            self._say(request, {"type": "ADDED", "object": CARS})
            self.ended.wait(30)

    def _document(self, path: str) -> dict[str, Any]:
        if path == "/api":
            return {"versions": ["v1"]}
        if path == "/api/v1":
            return {"resources": [NAMESPACE | VERBS]}  # kopf waits until there is this kind
        if path == "/apis":
            return {"groups": [GROUP]}
        if path == f"/apis/{SERVED_MODELS.api_version}":
            return {"resources": [KIND | VERBS]}
        return {"items": [], "metadata": {"resourceVersion": "1"}}

    def _say(self, request: BaseHTTPRequestHandler, event: dict[str, Any]) -> None:
        request.wfile.write(json.dumps(event).encode() + b"\n")
        request.wfile.flush()


@pytest.fixture
def api_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[list[str]], ApiServer]:
    def make(faults: list[str]) -> ApiServer:
        api = ApiServer(faults)
        config = {
            "current-context": "one",
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            "clusters": [{"name": "one", "cluster": {"server": api.url}}],
            "users": [{"name": "one", "user": {"token": "one"}}],
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        return api

    return make


def first_heard() -> Key:
    """Watch until something is heard of, and return it."""
    heard = list[Key]()

    async def watch() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()

        def enqueue(key: Key, _: bool) -> None:
            heard.append(key)
            stop.set()

        await asyncio.wait_for(watching.watch(enqueue, ["fleet"], stop, ready), 30)

    asyncio.run(watch())
    return heard[0]


@pytest.mark.parametrize("fault", ["discovery 500", "list 500", "watch 500", "watch ERROR", "watch cut off"])
def test_an_api_server_that_fails_for_longer_than_kopf_tries_is_watched_again_when_it_is_well(
    api_server: Callable[[list[str]], ApiServer], caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    api = api_server([fault] * 5)
    with api.serving():
        assert first_heard() == Key("fleet", "cars")
    assert api.met == [fault] * 5
    assert caplog.text.count("all are begun anew") >= 1


def login_error(cause: Exception) -> kopf.LoginError:
    """Return what kopf raises where it takes credentials for refused."""
    error = kopf.LoginError("ran out of valid credentials")
    error.__cause__ = cause
    return error


def test_all_watches_are_begun_anew_where_a_list_expired_while_it_was_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    operator = Operator(answered(410), answered(410))
    run(monkeypatch, operator)
    assert operator.runs == 3
    assert caplog.text.count("the continue token is too old") == 2


@pytest.mark.parametrize(
    "failure",
    [
        answered(408),
        answered(429),
        APIServerError("etcd", status=503, headers={}),
        aiohttp.ClientConnectionError("refused"),
        TimeoutError(),
        WatchingError("etcd"),
        login_error(APISessionClosed("SSL data stream is closed")),
    ],
)
def test_an_api_server_that_is_away_for_now_is_watched_again(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    operator = Operator(failure)
    run(monkeypatch, operator)
    assert operator.runs == 2


@pytest.mark.parametrize("refusal", [*map(answered, (400, 401, 403, 404)), login_error(answered(401))])
def test_another_refusal_ends_the_controller(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    operator = Operator(refusal)
    with pytest.raises(type(refusal)):
        run(monkeypatch, operator)
    assert operator.runs == 1


def test_nothing_is_begun_anew_once_we_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(APIClientError):
        run(monkeypatch, Operator(answered(410)), stopped=True)


class Pauses:
    """Waits that are over at once, with the seconds that each was to take; the operator runs for as long as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ran: float) -> None:
        self.seconds, self._ran, self._now = list[float](), list(ran), 0.0
        monkeypatch.setattr(watching, "_FIRST_PAUSE_SECONDS", 0.5)
        monkeypatch.setattr(watching.random, "uniform", lambda *_: 1.0)
        monkeypatch.setattr(asyncio, "wait_for", self._wait)
        monkeypatch.setattr(kopf, "operator", self._operator)

    async def watch(self) -> None:
        monkeyed = asyncio.get_running_loop()
        monkeyed.time = lambda: self._now  # type: ignore[method-assign]
        await watching.watch(lambda _key, _hurry: None, ["fleet"], asyncio.Event(), asyncio.Event())

    async def _operator(self, **_: Any) -> None:
        if self._ran:
            self._now += self._ran.pop(0)
            raise answered(429)

    async def _wait(self, waited: Any, seconds: float) -> None:
        waited.close()
        self.seconds.append(seconds)
        raise TimeoutError


def test_the_pause_gets_longer_and_is_short_again_after_a_minute_in_which_all_was_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = Pauses(monkeypatch, *[1.0] * 8, 61.0, 1.0)
    asyncio.run(pauses.watch())
    assert pauses.seconds == [0.5, 1, 2, 4, 8, 16, 30, 30, 0.5, 1]


def test_a_pause_ends_at_once_when_we_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_FIRST_PAUSE_SECONDS", 1000.0)
    operator = Operator(answered(429))
    monkeypatch.setattr(kopf, "operator", operator)

    async def watch() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(watching.watch(lambda _key, _hurry: None, ["fleet"], stop, asyncio.Event()))
        asyncio.get_running_loop().call_later(0.05, stop.set)  # it pauses by then
        await asyncio.wait_for(task, 10)

    asyncio.run(watch())
    assert operator.runs == 1
