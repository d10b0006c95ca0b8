"""Traces as a collector receives them: which requests, under which parents, and what their spans say."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from predictor.observability.metrics import Metrics
from predictor.observability.recording import Recording
from predictor.observability.spans import RequestSpan
from predictor.observability.tracing import Tracing, current_span
from predictor.observability.tracing_config import TracingConfig
from telemetry.exporting import OnceAMinute
from tests.predictor.observability.collector import Collector, attributes, collecting
from tests.predictor.observability.exposed import value
from tests.predictor.observability.loaded import batch, version
from tests.waiting import wait_for

SAMPLED = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = SAMPLED[:-1] + b"0"
INVALID = SAMPLED[:-1]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own variables must not change what is tested."""
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector."""
    with collecting() as collector:
        yield collector


@contextmanager
def tracing_to(collector: Collector, **changes: Any) -> Iterator[Tracing]:
    """Trace while the block runs; all spans have arrived after it."""
    given: dict[str, Any] = {"endpoint": collector.endpoint, "sample_ratio": 1.0} | changes
    tracing = Tracing(TracingConfig(**given))
    tracing.start()
    assert tracing.wait(30)
    try:
        yield tracing
    finally:
        tracing.stop()


def begun(tracing: Tracing, traceparent: bytes | None = None, tracestate: bytes | None = None) -> RequestSpan:
    """Begin a span that has to be sampled."""
    span = tracing.begin(traceparent, tracestate)
    assert span is not None
    return span


def end(span: RequestSpan, status: int = 200, **changes: Any) -> None:
    """End a span of POST /score."""
    given: dict[str, Any] = {"method": "POST", "route": "/score", "path": "/score", "status": status}
    span.end_http(**({"request_id": "r-1"} | given | changes))


def test_a_request_is_a_server_span_by_the_semantic_conventions(collector: Collector) -> None:
    """Its name, its kind, its attributes, and this process's."""
    with tracing_to(collector, service_version="1.2.3", attributes={"telltale.revision": "a"}) as tracing:
        end(begun(tracing), client="10.0.0.1", server=("127.0.0.1", 8000))
    (span,) = collector.spans
    assert (span.name, span.kind, span.parent_span_id) == ("POST /score", Span.SPAN_KIND_SERVER, b"")
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/score",
        "http.response.status_code": 200,
        "url.path": "/score",
        "url.scheme": "http",
        "client.address": "10.0.0.1",
        "server.address": "127.0.0.1",
        "server.port": 8000,
        "telltale.request_id": "r-1",
    }
    assert span.status.code == Status.STATUS_CODE_UNSET
    (resource,) = collector.resources
    assert resource["service.name"] == "telltale-predictor"
    assert resource["service.version"] == "1.2.3"
    assert resource["telltale.revision"] == "a"
    assert resource["telemetry.sdk.language"] == "python"


@pytest.mark.parametrize(("status", "failed"), [(399, False), (404, False), (500, True), (503, True)])
def test_only_the_servers_own_faults_are_errors(collector: Collector, status: int, failed: bool) -> None:
    """A client's bad request is no error of this span, as the conventions have it."""
    with tracing_to(collector) as tracing:
        end(begun(tracing), status)
    (span,) = collector.spans
    assert (span.status.code == Status.STATUS_CODE_ERROR) is failed
    assert attributes(span).get("error.type") == (str(status) if failed else None)


def test_a_request_without_an_answer_is_an_error(collector: Collector) -> None:
    """It has no status to tell."""
    with tracing_to(collector) as tracing:
        end(begun(tracing), 0)
    (span,) = collector.spans
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert "http.response.status_code" not in attributes(span)


def test_what_a_client_invents_is_neither_a_name_nor_endless(collector: Collector) -> None:
    """Names are grouped by; long values are cut."""
    with tracing_to(collector) as tracing:
        end(begun(tracing), 404, method="BREW", route="(none)", path="/x" * 5000)
    (span,) = collector.spans
    assert span.name == "HTTP"
    found = attributes(span)
    assert (found["http.request.method"], found["http.request.method_original"]) == ("_OTHER", "BREW")
    assert "http.route" not in found
    assert len(found["url.path"]) == 1024


def test_a_call_is_a_server_span_by_the_conventions_for_grpc(collector: Collector) -> None:
    """With the status code's name."""
    with tracing_to(collector) as tracing:
        begun(tracing).end_grpc("inference.GRPCInferenceService", "ModelInfer", "OK", request_id="r", client="10.0.0.1")
        begun(tracing).end_grpc("inference.GRPCInferenceService", "ModelInfer", "NOT_FOUND", request_id="r")
        begun(tracing).end_grpc("inference.GRPCInferenceService", "ModelInfer", "INTERNAL", request_id="r")
    fine, absent, broken = collector.named("inference.GRPCInferenceService/ModelInfer")
    assert attributes(fine) == {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "rpc.response.status_code": "OK",
        "client.address": "10.0.0.1",
        "telltale.request_id": "r",
    }
    assert absent.status.code == Status.STATUS_CODE_UNSET
    assert (broken.status.code, attributes(broken)["error.type"]) == (Status.STATUS_CODE_ERROR, "INTERNAL")


def test_scoring_is_a_child_span_with_who_answered(collector: Collector) -> None:
    """The recorder knows; a batch scored in a thread finds its request's span, too."""
    with tracing_to(collector) as tracing:
        span = begun(tracing)
        token = current_span.set(span)
        recording = Recording(None, None)
        recording.one(version(), -0.1, [0.0] * 3, seconds=0.25, request_id="r", protocol="score")
        recording.many(batch(20, of=version(version="20240202000000"), seconds=0.5))
        current_span.reset(token)
        recording.one(version(), -0.1, [0.0] * 3, seconds=0.25, request_id="r", protocol="score")
        end(span)
    (request,) = collector.named("POST /score")
    first, second = collector.named("score")
    assert {first.parent_span_id, second.parent_span_id} == {request.span_id}
    assert {first.trace_id, second.trace_id} == {request.trace_id}
    assert attributes(first) == {
        "telltale.model": "default",
        "telltale.model_version": "20240101000000",
        "telltale.records": 1,
    }
    assert attributes(second)["telltale.records"] == 20
    assert attributes(request)["telltale.records"] == 21
    assert first.end_time_unix_nano - first.start_time_unix_nano == pytest.approx(250_000_000, abs=1000)
    assert request.start_time_unix_nano <= first.end_time_unix_nano <= request.end_time_unix_nano


def test_the_span_continues_the_callers_trace(collector: Collector) -> None:
    """Whatever our own ratio; its state is passed on."""
    with tracing_to(collector, sample_ratio=0.0) as tracing:
        span = begun(tracing, SAMPLED, b"vendor=a,other=b")
        onward = tracing.onward(span)
        end(span)
    (sent,) = collector.spans
    assert sent.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c" == span.trace_id
    assert sent.parent_span_id.hex() == "b7ad6b7169203331"
    assert sent.span_id.hex() == span.span_id
    assert sent.trace_state == "vendor=a,other=b"
    assert onward == {
        "traceparent": f"00-0af7651916cd43dd8448eb211c80319c-{span.span_id}-01",
        "tracestate": "vendor=a,other=b",
    }


def test_a_caller_that_did_not_sample_is_followed(collector: Collector) -> None:
    """Although our own ratio would take every request; what it sets off is told the same."""
    with tracing_to(collector, sample_ratio=1.0) as tracing:
        assert tracing.begin(NOT_SAMPLED, None) is None
        assert tracing.onward(None, NOT_SAMPLED, b"vendor=a") == {
            "traceparent": NOT_SAMPLED.decode(),
            "tracestate": "vendor=a",
        }
    assert collector.spans == []


@pytest.mark.parametrize("tracestate", [None, b"vendor=a"])
def test_a_broken_header_counts_as_none(collector: Collector, tracestate: bytes | None) -> None:
    """A new trace begins, and the state that came with it is forgotten."""
    with tracing_to(collector) as tracing:
        end(begun(tracing, INVALID, tracestate))
    (span,) = collector.spans
    assert span.parent_span_id == b""
    assert span.trace_state == ""
    assert span.trace_id.hex() != "0af7651916cd43dd8448eb211c80319c"


def test_a_broken_or_endless_state_leaves_the_parent_as_it_is(collector: Collector) -> None:
    """It is somebody else's, and only passed on."""
    with tracing_to(collector) as tracing:
        for state in (b"no equals sign", b"a=" + b"x" * 600, b"\xff\xfe"):
            end(begun(tracing, SAMPLED, state))
    assert {span.parent_span_id.hex() for span in collector.spans} == {"b7ad6b7169203331"}
    assert {span.trace_state for span in collector.spans} == {""}


def test_what_is_not_sampled_is_not_sampled_further_on(collector: Collector) -> None:
    """A training job must not begin traces of requests that were left out."""
    with tracing_to(collector, sample_ratio=0.0) as tracing:
        assert tracing.begin(None, None) is None
        headers = tracing.onward(None)
        assert tracing.begin(headers["traceparent"].encode(), None) is None
        assert headers["traceparent"].endswith("-00")


def test_the_share_of_sampled_requests_is_the_ratio(collector: Collector) -> None:
    """Of 20,000 within five standard deviations, and the collector gets exactly those that were begun."""
    with tracing_to(collector, sample_ratio=0.05) as tracing:
        spans = [span for _ in range(20_000) if (span := tracing.begin(None, None)) is not None]
        for span in spans:
            end(span)
    assert abs(len(spans) - 1000) < 5 * (20_000 * 0.05 * 0.95) ** 0.5
    assert {span.span_id.hex() for span in collector.spans} == {span.span_id for span in spans}
    assert len({span.trace_id for span in collector.spans}) == len(spans)
    assert tracing.sampled == len(spans)


def test_the_draw_decides_as_opentelemetrys_sampler_would(collector: Collector) -> None:
    """So that services further on which sample by the trace id agree with us."""
    drawn: list[int] = []

    def bits(count: int) -> int:
        drawn.append(random.getrandbits(count))
        return drawn[-1]

    sampler = TraceIdRatioBased(0.3)
    tracing = Tracing(TracingConfig(endpoint=collector.endpoint, sample_ratio=0.3), random_bits=bits)
    tracing.start()
    assert tracing.wait(30)
    for _ in range(500):
        drawn.clear()
        span = tracing.begin(None, None)
        # Of a request that is left out only the lower half was drawn, at which alone the sampler looks.
        trace_id = int(span.trace_id, 16) if span is not None else drawn[0]
        assert (sampler.should_sample(None, trace_id, "").decision is Decision.RECORD_AND_SAMPLE) == (span is not None)
    tracing.stop()


def test_nothing_is_traced_before_it_is_ready_nor_after_the_end(collector: Collector) -> None:
    """Requests are answered all the same."""
    tracing = Tracing(TracingConfig(endpoint=collector.endpoint, sample_ratio=1.0))
    assert tracing.begin(SAMPLED, None) is None
    tracing.start()
    assert tracing.wait(30)
    span = begun(tracing, SAMPLED)
    tracing.stop()
    assert tracing.begin(SAMPLED, None) is None
    end(span)
    assert collector.spans == []


def test_opentelemetry_is_not_imported_until_tracing_starts() -> None:
    """It takes a while, which the first answer must not wait for."""
    code = (
        "import sys; from predictor.observability.tracing import Tracing, TracingConfig;"
        "t = Tracing(TracingConfig()); assert t.begin(None) is None; t.onward(None);"
        "loaded = [n for n in sys.modules if n.startswith(('opentelemetry', 'requests', 'google.protobuf'))];"
        "print(loaded)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_standard_variables_are_honoured(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, headers, name and attributes of the process."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.removesuffix("/v1/traces"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=fleet")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "renamed")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=p-1")
    with tracing_to(collector, endpoint=None) as tracing:
        end(begun(tracing))
    assert len(collector.spans) == 1
    assert collector.headers[0]["x-tenant"] == "fleet"
    assert collector.resources[0]["service.name"] == "renamed"
    assert collector.resources[0]["k8s.pod.name"] == "p-1"


@pytest.mark.parametrize("status", [400, 503])
def test_a_collector_that_refuses_costs_spans_and_nothing_else(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, and said once."""
    metrics = Metrics()
    with collecting(status=status) as collector:
        with tracing_to(collector, shutdown_seconds=0.5) as tracing:
            tracing.expose(metrics)
            for _ in range(600):
                end(begun(tracing))
            wait_for(lambda: collector.attempts > 0, seconds=10)
            sampled = value(metrics, "telltale_traces_sampled_total")
        assert collector.spans == []
    assert sampled == 600
    said = [record for record in caplog.records if record.name.startswith("opentelemetry")]
    assert len(said) == 1


def test_the_outcomes_of_spans_are_told(collector: Collector) -> None:
    """How many arrived, and how many did not."""
    metrics = Metrics()
    with tracing_to(collector) as tracing:
        tracing.expose(metrics)
        for _ in range(512):  # a full batch is sent at once
            end(begun(tracing))
        wait_for(lambda: value(metrics, "telltale_spans_total", outcome="exported") == 512, seconds=10)
        assert value(metrics, "telltale_spans_total", outcome="failed") == 0
    assert len(collector.spans) == 512


def test_a_collector_that_hangs_neither_holds_requests_nor_the_end() -> None:
    """Spans queue up to a bound, the oldest make room, and the stop takes no longer than it may."""
    with collecting(answers=False) as collector, tracing_to(collector, shutdown_seconds=0.5) as tracing:
        for _ in range(600):
            end(begun(tracing))
        wait_for(lambda: collector.attempts == 1, seconds=10)
        started = time.monotonic()
        for _ in range(3000):
            end(begun(tracing))
        took = time.monotonic() - started
        stopping = time.monotonic()
        tracing.stop()
        stopped = time.monotonic() - stopping
    assert took < 3
    assert stopped < 1.5


def test_nobody_at_the_endpoint_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """As when the collector is restarted."""
    with collecting() as collector:
        endpoint = collector.endpoint
    gone = Collector(endpoint=endpoint)
    with tracing_to(gone, shutdown_seconds=0.3) as tracing:
        for _ in range(1200):
            end(begun(tracing))
    assert len([record for record in caplog.records if record.name.startswith("opentelemetry")]) <= 1


def test_a_wrong_setting_leaves_requests_untraced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server answers without traces, and its log says why."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    tracing = Tracing(TracingConfig(endpoint="http://127.0.0.1:9/v1/traces"))
    tracing.start()
    assert not tracing.wait(30)
    assert tracing.begin(SAMPLED, None) is None
    assert "requests are not traced" in caplog.text


def test_the_exporters_complaints_pass_once_a_minute() -> None:
    """With how many were held back."""
    now = [0.0]
    once = OnceAMinute(lambda: now[0])

    def passes(text: str) -> str | None:
        record = logging.LogRecord("x", logging.WARNING, __file__, 1, "%s", (text,), None)
        return record.getMessage() if once.filter(record) else None

    assert passes("first") == "first"
    now[0] = 59.0
    assert passes("second") is None
    assert passes("third") is None
    now[0] = 60.0
    assert passes("fourth") == "fourth (2 like it in the last minute)"
    now[0] = 121.0
    assert passes("fifth") == "fifth"
