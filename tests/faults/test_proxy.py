from __future__ import annotations

import json
import random
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx2 as httpx
import pytest
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User

from faults.proxy import Proxy, Weather

ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/fleet/httproutes"
EVENTS = [{"type": "MODIFIED", "object": {"metadata": {"resourceVersion": str(number)}}} for number in range(40)]


class Upstream(BaseHTTPRequestHandler):
    """An API server that takes everything and tells of 40 events."""

    seen: list[str]

    def do_GET(self) -> None:
        self._answer(EVENTS if "watch=" in self.path else [{"items": []}])

    def do_PATCH(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(self.path)
        self._answer([{"kind": "HTTPRoute"}])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def _answer(self, documents: list[dict[str, object]]) -> None:
        body = b"".join(json.dumps(document).encode() + b"\n" for document in documents)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def upstream() -> Iterator[str]:
    Upstream.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxy(upstream: str) -> Iterator[Proxy]:
    config = KubeConfig.from_one(cluster=Cluster(server=upstream), user=User()).get()
    assert config is not None
    with Proxy(config) as found:
        yield found


def ask(proxy: Proxy, method: str, path: str) -> int | str:
    """Return the status of an answer, or what came instead."""
    try:
        return httpx.request(method, proxy.url + path, json={}, timeout=0.3, trust_env=False).status_code
    except httpx.ReadTimeout:
        return "silence"
    except httpx.TransportError:
        return "cut"


def events(proxy: Proxy) -> list[str]:
    answer = httpx.get(f"{proxy.url}{ROUTES}?watch=true", timeout=30.0, trust_env=False)
    return [json.loads(line)["type"] for line in answer.text.splitlines()]


def test_in_good_weather_everything_passes(proxy: Proxy, upstream: str) -> None:  # noqa: ARG001
    assert ask(proxy, "GET", ROUTES) == 200
    assert ask(proxy, "PATCH", f"{ROUTES}/cars?force=true") == 200
    assert events(proxy) == ["MODIFIED"] * 40
    assert Upstream.seen == [f"{ROUTES}/cars?force=true"]


def test_in_bad_weather_every_kind_of_fault_comes(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faults.proxy.SILENCE_SECONDS", 0.5)
    weather = proxy.weather["fleet"] = Weather(random.Random(1), 1.0, 0.2)  # noqa: S311
    reads = {ask(proxy, "GET", ROUTES) for _ in range(25)}
    writes = {ask(proxy, "PATCH", f"{ROUTES}/cars") for _ in range(40)}
    for _ in range(10):
        events(proxy)
    assert reads == {410, 429, 500, "cut", "silence"}
    assert writes == {409, 429, 500, "cut", "silence"}
    assert {"dropped", "doubled", "held up", "watch cut", "watch 410", "lost answer"} <= weather.done.keys()
    assert len(Upstream.seen) == weather.done["lost answer"], "a lost answer is of a write that was done"


def test_other_namespaces_have_good_weather(proxy: Proxy) -> None:
    proxy.weather["road"] = Weather(random.Random(1), 1.0, 1.0)  # noqa: S311
    assert ask(proxy, "GET", ROUTES) == 200
    assert events(proxy) == ["MODIFIED"] * 40
