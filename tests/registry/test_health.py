"""The probes: what they say, and that they turn red where a loop stands still and nowhere else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from threading import Event
from typing import Any

import kopf
import pytest
from yarl import URL

from registry.controller import Workers
from registry.health import Health, HealthServer
from registry.kubernetes.resources import HTTP_ROUTES, SERVED_MODELS
from registry.metrics import RegistryMetrics
from registry.reconciler import Looked
from registry.tracing import Tracing
from registry.vitals import Vitals
from registry.watches import Watches
from registry.work_queue import Key, WorkQueue
from tests.waiting import wait_for

CARS = Key("fleet", "cars")
STUCK_AFTER = 180.0


class Controller:
    """Two workers and two for what is urgent, with a clock that the test turns for their signs of life."""

    def __init__(self, reconcile: Callable[[Key], Looked]) -> None:
        self.seconds = 0.0
        self.vitals = Vitals(lambda: self.seconds)
        self.queue = WorkQueue(time.monotonic)
        metrics = RegistryMetrics()
        reconciler: Any = type("Reconciler", (), {"reconcile": staticmethod(reconcile)})
        self._workers = Workers(self.queue, reconciler, metrics, self.vitals, lambda: True, Tracing(None))
        self.enqueue = self._workers.enqueue

    def __enter__(self) -> Controller:
        self._threads = self._workers.start(2)
        return self

    def __exit__(self, *_: object) -> None:
        self.queue.close()
        for thread in self._threads:
            thread.join(10)

    def ailment(self) -> str | None:
        return self.vitals.ailment(STUCK_AFTER)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.controller._IDLE_SECONDS", 0.05)


def test_one_worker_that_hangs_makes_it_ill_although_all_other_loops_go_round() -> None:
    entered, release = Event(), Event()

    def hang(_: Key) -> Looked:
        entered.set()
        release.wait(30)
        return Looked(None, None)

    with Controller(hang) as controller:
        controller.enqueue(CARS)
        assert entered.wait(30)
        controller.seconds += STUCK_AFTER - 1
        assert controller.ailment() is None
        controller.seconds += 1
        controller.vitals.beat("relist", pause=60)
        wait_for(lambda: sum(seconds < 1 for seconds, _ in controller.vitals.silences().values()) == 4)
        assert str(controller.ailment()).endswith("has not gone round for 180 s: looking at fleet/cars")
        assert controller.vitals.age() >= STUCK_AFTER
        release.set()
        wait_for(lambda: controller.ailment() is None)
    assert controller.vitals.silences().keys() == {"relist"}, "workers that ended as they should are not missed"


def test_a_controller_without_work_is_well_for_ever() -> None:
    with Controller(lambda _: Looked(None, None)) as controller:
        wait_for(lambda: len(controller.vitals.silences()) == 4)
        for _ in range(3):
            controller.seconds += 100_000
            wait_for(lambda: controller.ailment() is None)


def test_a_loop_whose_thread_has_ended_is_missed() -> None:
    seconds = 0.0
    vitals = Vitals(lambda: seconds)
    vitals.beat("lease", pause=2)
    seconds = 181.9
    assert vitals.ailment(STUCK_AFTER) is None
    seconds = 182.0
    assert vitals.ailment(STUCK_AFTER) == "lease has not gone round for 180 s: waiting"


def test_a_long_pause_between_lists_is_no_illness() -> None:
    seconds = 0.0
    vitals = Vitals(lambda: seconds)
    vitals.beat("relist", pause=3600)
    seconds = 3700.0
    assert vitals.ailment(STUCK_AFTER) is None


def test_a_watch_counts_as_open_once_it_is_answered_and_not_when_only_its_list_is() -> None:
    watches = Watches((SERVED_MODELS, HTTP_ROUTES))
    at = URL("https://cluster")
    watches.heard(at / "apis/registry.telltale.dev/v1alpha1/servedmodels", None)
    assert set(watches.faults()) == {"servedmodels", "httproutes"}
    watches.heard((at / "apis/registry.telltale.dev/v1alpha1/servedmodels").with_query(watch="true"), None)
    routes = at / "apis/gateway.networking.k8s.io/v1/httproutes"
    watches.heard(routes, "the API server answers 403")
    assert watches.ailment() == "watches that are not open: httproutes: the API server answers 403"
    watches.heard(routes.with_query(watch="true"), None)
    assert watches.ailment() is None
    watches.heard(routes, "the API server does not answer: ClientConnectorError")
    assert "ClientConnectorError" in str(watches.ailment())
    watches.heard(at / "apis/registry.telltale.dev/v1alpha1", "the API server answers 500")
    assert set(watches.faults()) == {"httproutes"}


def test_of_several_namespaces_each_has_its_own_watch_and_the_one_that_is_not_open_is_named() -> None:
    watches = Watches((SERVED_MODELS,), ["fleet", "depot"])
    # An API server behind a proxy has a path of its own.
    at = URL("https://proxy/clusters/one/apis/registry.telltale.dev/v1alpha1/namespaces")
    watches.heard((at / "fleet/servedmodels").with_query(watch="true"), None)
    assert watches.ailment() == "watches that are not open: servedmodels in depot: it is not open yet"
    watches.heard((at / "depot/servedmodels").with_query(watch="true"), None)
    assert watches.ailment() is None
    watches.heard(at / "depot/servedmodels", "the API server answers 403")
    assert watches.faults() == {"servedmodels in depot": "the API server answers 403"}


class Probed:
    """A server, and what it is told."""

    def __init__(self) -> None:
        self.alive, self.ready = (
            Health(None, {"loops": {}}),
            Health("watches that are not open: pods", {"leading": False}),
        )
        self.server = HealthServer("127.0.0.1", 0, lambda: self.alive, lambda: self.ready, lambda: b"up 1\n")
        self.server.start()

    def ask(self, method: str, path: str) -> tuple[int, str, bytes]:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        length = answer.headers["Content-Length"]
        assert method == "HEAD" or length is None or int(length) == len(body)
        return answer.status, answer.headers["Content-Type"], body


@pytest.fixture
def probed() -> Iterator[Probed]:
    found = Probed()
    yield found
    found.server.stop()


def test_a_probe_says_why_in_json(probed: Probed) -> None:
    status, kind, body = probed.ask("GET", "/healthz?verbose")
    assert (status, kind, json.loads(body)) == (200, "application/json", {"status": "ok", "detail": None, "loops": {}})
    status, kind, body = probed.ask("GET", "/readyz")
    expected = {"status": "unavailable", "detail": "watches that are not open: pods", "leading": False}
    assert (status, kind, json.loads(body)) == (503, "application/json", expected)
    probed.alive, probed.ready = Health("worker-1 hangs"), Health(None, {"leading": True})
    assert probed.ask("GET", "/healthz")[0] == 503
    assert probed.ask("GET", "/readyz")[0] == 200


def test_head_is_answered_like_get_and_without_a_body(probed: Probed) -> None:
    for path, status in (("/healthz", 200), ("/readyz", 503), ("/metrics", 200), ("/", 404)):
        assert probed.ask("HEAD", path) == (status, probed.ask("GET", path)[1], b"")


def test_metrics_are_prometheus_text(probed: Probed) -> None:
    assert probed.ask("GET", "/metrics") == (200, "text/plain; version=0.0.4; charset=utf-8", b"up 1\n")


def test_another_path_or_method_is_told_what_there_is(probed: Probed) -> None:
    status, kind, body = probed.ask("GET", "/health")
    expected = {"status": "error", "detail": "not found; there are /healthz, /readyz, /metrics"}
    assert (status, kind, json.loads(body)) == (404, "application/json", expected)
    status, kind, body = probed.ask("POST", "/healthz")
    assert (status, kind, json.loads(body)["status"]) == (501, "application/json", "error")


def test_credentials_that_were_refused_are_not_taken_for_new_ones() -> None:
    async def same_and_other() -> tuple[bool, bool]:
        watches = Watches((SERVED_MODELS,))
        infos = [kopf.ConnectionInfo(server="https://cluster", token=token) for token in ("one", "one", "two")]
        one, again, other = (watches.session(info) for info in infos)
        for session in (one, again, other):
            await session.aiohttp_session.close()
        return one == again, one == other

    assert asyncio.run(same_and_other()) == (True, False)
