"""Spans on their way to a collector, and the places that components hand to each other."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ReceivedSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from telemetry.pipeline import SpanPipeline
from telemetry.spans import Span, SpanPlace, is_asked_for, pipeline_for, sampled_place
from tests.predictor.observability.collector import Collector, attributes, collecting

TRACED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PLACE = SpanPlace(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
NOON = 1_767_268_800_000_000_000


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own variables must not change what is tested."""
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.removesuffix("/v1/traces"))
        yield collector


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (TRACED, PLACE),
        (TRACED[:-2] + "03", PLACE),
        ("01" + TRACED[2:] + "-more", PLACE),
        (TRACED[:-2] + "00", None),
        (TRACED + "-more", None),
        ("ff" + TRACED[2:], None),
        (TRACED.upper(), None),
        (TRACED[:3] + "0" * 32 + TRACED[35:], None),
        (TRACED[:36] + "0" * 16 + TRACED[52:], None),
        (TRACED + "\n", None),
        ("", None),
        (None, None),
    ],
)
def test_a_place_is_read_as_strictly_as_the_standard_has_it(text: str | None, place: SpanPlace | None) -> None:
    assert sampled_place(text) == place


def test_opentelemetry_reads_what_we_write() -> None:
    assert PLACE.traceparent() == TRACED
    context = TraceContextTextMapPropagator().extract({"traceparent": PLACE.traceparent()})
    assert context


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_switch_it_on_and_off(environment: dict[str, str], asked: bool) -> None:
    assert is_asked_for(environment) is asked
    if not asked:
        assert pipeline_for("x", environment) is None


def test_a_span_arrives_as_it_was_made(collector: Collector) -> None:
    pipeline = SpanPipeline("telltale-registry", "1.2.3")
    other = SpanPlace(1, 2)
    said = {"telltale.weight": 50, "long": "x" * 5000}
    pipeline.send(Span("rollout", PLACE, None, NOON, NOON + 5, attributes=said, links=(other,)))
    pipeline.send(Span("list pods", SpanPlace(PLACE.trace_id, 7), PLACE.span_id, NOON, NOON, "client", error="500"))
    pipeline.stop(10)
    rollout, call = collector.spans
    assert (rollout.trace_id.hex(), rollout.span_id.hex(), rollout.parent_span_id) == (TRACED[3:35], TRACED[36:52], b"")
    assert (rollout.start_time_unix_nano, rollout.end_time_unix_nano) == (NOON, NOON + 5)
    assert (attributes(rollout)["telltale.weight"], len(attributes(rollout)["long"])) == (50, 1024)
    assert [(int.from_bytes(link.trace_id), int.from_bytes(link.span_id)) for link in rollout.links] == [(1, 2)]
    assert (call.trace_id, call.parent_span_id, call.kind) == (
        rollout.trace_id,
        rollout.span_id,
        ReceivedSpan.SPAN_KIND_CLIENT,
    )
    assert (call.status.code, call.status.message) == (Status.STATUS_CODE_ERROR, "500")
    assert rollout.status.code == Status.STATUS_CODE_UNSET
    (resource,) = collector.resources
    assert (resource["service.name"], resource["service.version"]) == ("telltale-registry", "1.2.3")
    assert pipeline.outcomes == {"exported": 2, "failed": 0}


def test_a_collector_that_hangs_holds_up_nobody_and_is_complained_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting(answers=False) as hanging:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", hanging.endpoint)
        pipeline = SpanPipeline("telltale-registry", "")
        began = time.monotonic()
        for number in range(5000):
            pipeline.send(Span("reconcile", SpanPlace(1, number + 1), None, NOON, NOON))
        sent = time.monotonic() - began
        pipeline.stop(0.2)
        assert time.monotonic() - began < sent + 2
    assert sum(record.levelno >= logging.WARNING for record in caplog.records) <= 1
