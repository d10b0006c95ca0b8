"""The controller's log: a line for each decision that changed something, and no secret at any level."""

from __future__ import annotations

import base64
import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from threading import Event
from typing import Any

import httpx2 as httpx
import pytest

from killpoints.scenarios import HALF, spec
from registry.errors import MlflowUnavailable, PrometheusUnavailable
from registry.metrics import RegistryMetrics
from registry.mlflow_registry import MlflowRegistry
from registry.notifications import Notification, Notifier
from registry.prometheus import Prometheus
from registry.tracing import Tracing
from registry.tracing_logs import configure
from registry.tracing_sources import Calls, ObservedModels
from telemetry.spans import Span
from tests.registry.test_tracing import Bench

TOKEN, PASSWORD, HOOK = "s3cr3t-token", "s3cr3t-password", "http://127.0.0.1:9/hooks/s3cr3t-path"


class Log:
    """What is written to standard error."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def text(self) -> str:
        return self._stream.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """The log at its most talkative, as the controller configures it."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setattr("sys.stderr", stream)
    configure("debug")
    yield Log(stream)
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


class Sent:
    """A way to the collector that keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def send(self, span: Span) -> None:
        self.spans.append(span)


def test_each_decision_that_changed_something_is_one_line_with_its_span(log: Log) -> None:
    sent = Sent()
    bench = Bench(Tracing(sent), spec(HALF))
    bench.serve()
    bench.stage.move_alias(2)
    bench.rest("Healthy")
    lines = [line for line in log.lines() if "phase" in line and line.get("attempt", "").endswith("/2")]
    looks = {f"{span.place.span_id:016x}": span for span in sent.spans if span.name.startswith("reconcile")}
    assert [line["phase"] for line in lines if line["former_phase"] != line["phase"]] == [
        "Validating",
        "Progressing",
        "Promoting",
        "Healthy",
    ]
    for line in lines:
        look = looks[line["span_id"]]
        assert (line["served_model"], line["namespace"], line["level"]) == ("cars", "fleet", "info")
        assert line["trace_id"] == f"{look.place.trace_id:032x}"
        assert look.attributes["telltale.attempt"] == line["attempt"]
    (half,) = [line for line in lines if line["phase"] == "Progressing"]
    assert (half["weight"], half["reasons"]) == (50, ["Progressing"])
    quiet = len(log.lines())
    for _ in range(5):
        bench.simulation.look_in(0.0)
        bench.simulation.run(5)
    assert [line for line in log.lines()[quiet:] if line["level"] != "debug"] == []


def test_what_kopf_stumbles_over_when_it_ends_is_not_told_and_all_else_that_asyncio_says_is(log: Log) -> None:
    says = "Exception in callback stream.<locals>.request_cancel_callback(<Task>) at kopf/_cogs/clients/api.py:237"
    for message, failure in ((says, AssertionError()), (says, ValueError()), ("another", AssertionError())):
        try:
            raise failure
        except (AssertionError, ValueError):
            logging.getLogger("asyncio").error(message, exc_info=sys.exc_info())
    told = [(line["message"], "AssertionError" in line["exc_info"]) for line in log.lines()]
    assert told == [(says, False), ("another", True)]


def test_an_abort_is_a_warning_that_names_who_did_it(log: Log) -> None:
    bench = Bench(Tracing(None), spec({"setWeight": 10}, {"pause": {}}))
    bench.serve("Paused")
    bench.stage.act("Promote")
    bench.rest("Healthy")
    bench.stage.move_alias(2)
    bench.rest("Paused")
    bench.stage.act("Abort")
    bench.rest("Rejected")
    (aborted,) = [line for line in log.lines() if "Aborted" in line.get("reasons", ())]
    assert (aborted["level"], aborted["former_phase"], aborted["phase"]) == ("warning", "Paused", "RollingBack")
    assert "alice" in aborted["message"]
    assert "trace_id" not in aborted, "without a collector there is no trace to look for"


def test_debug_tells_of_each_call_and_what_it_came_to(log: Log) -> None:
    bench = Bench(Tracing(None), spec(HALF))
    bench.serve()
    said = [line["message"] for line in log.lines() if line["level"] == "debug"]
    assert any(line.startswith("kubernetes: create httproutes: 200 after") for line in said)
    assert any(line.startswith("mlflow: by_alias {'telltale.model': 'cars'") for line in said)


def test_no_level_shows_a_webhook_a_token_or_a_password(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    class Api:
        def get(self, *_: object) -> dict[str, Any]:
            return {"data": {"url": base64.b64encode(HOOK.encode()).decode()}}

    api: Any = Api()
    stop = Event()
    stop.set()
    for transport in (httpx.MockTransport(lambda _: httpx.Response(200)), None):
        Notifier(api, time.monotonic, transport).post(Notification("fleet", "hook", {}), stop)
    calls = Calls(RegistryMetrics(), Tracing(None))
    prometheus = Prometheus(f"http://user:{PASSWORD}@127.0.0.1:9", 1, {"Authorization": f"Bearer {TOKEN}"})
    with pytest.raises(PrometheusUnavailable) as refused:
        calls.of_gate("errors", prometheus.ask)("up")
    prometheus.close()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow: Any = MlflowRegistry(f"http://user:{PASSWORD}@127.0.0.1:9")
    with pytest.raises(MlflowUnavailable) as away:
        ObservedModels(mlflow, mlflow, calls).aliases()
    logging.getLogger("registry").warning("MLflow does not answer: %s", away.value)
    everything = log.text() + str(refused.value) + str(away.value)
    assert "prometheus: query" in everything
    assert "mlflow: aliases" in everything
    for secret in (TOKEN, PASSWORD, "s3cr3t-path"):
        assert secret not in everything
