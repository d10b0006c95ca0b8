from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs

import pytest

from registry.errors import NotOneNumber, PrometheusUnavailable
from registry.prometheus import Prometheus, filled_in
from tests.registry.prometheus_process import PrometheusProcess


class Server:
    """Answers every query with what a test sets."""

    def __init__(self) -> None:
        self.status, self.body, self.hold = 200, b"{}", Event()
        self.hold.set()
        self.asked: list[dict[str, list[str]]] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                outer.asked.append(parse_qs(self.rfile.read(length).decode()))
                outer.headers.append(dict(self.headers))
                outer.hold.wait(10)
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def answers(self, kind: str, result: Any) -> None:
        self.body = json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()

    def stop(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.stop()


@pytest.fixture
def prometheus(server: Server) -> Iterator[Prometheus]:
    client = Prometheus(server.url, 0.5, {"Authorization": "Bearer secret"})
    yield client
    client.close()


def test_the_one_element_of_a_vector_is_the_number(server: Server, prometheus: Prometheus) -> None:
    server.answers("vector", [{"metric": {}, "value": [1.0, "0.25"]}])
    assert prometheus.ask("errors") == 0.25
    assert server.asked[0]["query"] == ["errors"]
    assert server.headers[0]["Authorization"] == "Bearer secret"


def test_a_scalar_is_a_number(server: Server, prometheus: Prometheus) -> None:
    server.answers("scalar", [1.0, "3"])
    assert prometheus.ask("scalar(x)") == 3


def test_an_empty_vector_is_no_data(server: Server, prometheus: Prometheus) -> None:
    server.answers("vector", [])
    assert prometheus.ask("x") is None


def test_nothing_divided_by_nothing_is_nan_and_not_no_data(server: Server, prometheus: Prometheus) -> None:
    server.answers("vector", [{"metric": {}, "value": [1.0, "NaN"]}])
    value = prometheus.ask("x / y")
    assert value is not None
    assert math.isnan(value)


def test_several_series_are_no_number(server: Server, prometheus: Prometheus) -> None:
    sample = {"metric": {}, "value": [1.0, "1"]}
    server.answers("vector", [sample, sample])
    with pytest.raises(NotOneNumber, match="gives 2 values"):
        prometheus.ask("x")


def test_a_range_of_values_is_no_number(server: Server, prometheus: Prometheus) -> None:
    server.answers("matrix", [{"metric": {}, "values": [[1.0, "1"]]}])
    with pytest.raises(NotOneNumber, match="gives a matrix"):
        prometheus.ask("x[5m]")


@pytest.mark.parametrize("status", [400, 422])
def test_a_query_that_prometheus_refuses_says_what_prometheus_says(
    server: Server, prometheus: Prometheus, status: int
) -> None:
    server.status, server.body = status, b'{"status": "error", "error": "parse error: unclosed left parenthesis"}'
    with pytest.raises(NotOneNumber, match="refuses the query: parse error: unclosed left parenthesis"):
        prometheus.ask("sum(")


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, b'{"status": "error", "error": "starting"}'), (502, b"<html>"), (200, b"[]"), (200, b'{"status": "error"}')],
)
def test_a_server_that_is_not_well_is_unavailable(
    server: Server, prometheus: Prometheus, status: int, body: bytes
) -> None:
    server.status, server.body = status, body
    with pytest.raises(PrometheusUnavailable):
        prometheus.ask("x")


def test_a_server_that_does_not_answer_in_time_is_unavailable(server: Server, prometheus: Prometheus) -> None:
    server.hold.clear()
    began = time.monotonic()
    with pytest.raises(PrometheusUnavailable, match="ReadTimeout"):
        prometheus.ask("x")
    assert time.monotonic() - began < 5


def test_a_server_that_is_away_is_unavailable() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        client = Prometheus(f"http://127.0.0.1:{probe.getsockname()[1]}", 0.5)
        with pytest.raises(PrometheusUnavailable):
            client.ask("x")
        client.close()


def test_placeholders_are_filled_in_and_other_braces_stay() -> None:
    query = 'sum(rate(errors{service="{candidate}-predictor"}[{elapsed}s]))'
    values = {"candidate": "cars-1", "elapsed": "30"}
    assert filled_in(query, values) == 'sum(rate(errors{service="cars-1-predictor"}[30s]))'


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus that scrapes itself."""
    server = PrometheusProcess(tmp_path_factory.mktemp("prometheus"))
    server.start()
    yield server.url
    server.stop()


def test_a_real_prometheus_gives_a_number_no_data_nan_and_a_refusal(real: str) -> None:
    client = Prometheus(real, 2)
    assert client.ask('up{job="self"}') == 1
    assert client.ask('up{job="nobody"}') is None
    value = client.ask("vector(0) / vector(0)")
    assert value is not None
    assert math.isnan(value)
    for query, said in (
        ("sum(", "parse error"),
        ("up * on() vector(1) * on(job) up", None),
        ("prometheus_build_info or up", "2 values"),
        ("up[1m]", "matrix"),
        ("label_replace(up, 'job', '', 'job', '.*') + on() label_replace(up, 'a', '(', 'b', '(')", "refuses"),
    ):
        if said is not None:
            with pytest.raises(NotOneNumber, match=said):
                client.ask(query)
    assert client.ask("scalar(vector(2))") == 2
    client.close()
