"""From a request to the version that came of it: one trace, and a tag that leads to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ReceivedSpan

from contract.names import TAG_TRACEPARENT
from store.ingest_log import BatchRow
from store.parquet import encode_batch
from telemetry.spans import Span, sampled_place
from tests.predictor.observability.collector import Collector, attributes, collecting
from tests.trainer.conftest import MLFLOW_WARNINGS, NOW, Bench, batch
from tests.trainer.processes import Process, wait_until
from trainer.tracing import TracedTraining, asked_by

pytestmark = [pytest.mark.integration, *MLFLOW_WARNINGS]
TRACED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Sent:
    """A way to the collector that keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def send(self, span: Span) -> None:
        self.spans.append(span)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def accept(bench: Bench, traceparent: str | None = None) -> BatchRow:
    rows = encode_batch(batch(np.random.default_rng(0).normal(size=(30, 4))))
    return bench.log.accept(rows, now=NOW, warnings=[], traceparent=traceparent)


def tag(bench: Bench) -> str | None:
    (version,) = bench.versions()
    (run,) = bench.runs()
    assert version.tags.get(TAG_TRACEPARENT) == run.data.tags.get(TAG_TRACEPARENT)
    found: str | None = version.tags.get(TAG_TRACEPARENT)
    return found


def test_a_worker_continues_the_trace_of_the_request_and_writes_it_to_the_version(
    bench: Bench, start: Callable[..., Process], collector: Collector
) -> None:
    row = accept(bench, TRACED)
    endpoint = collector.endpoint.removesuffix("/v1/traces")
    worker = start(env={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100", "NO_PROXY": "*"})
    wait_until(lambda: bench.log.get(row.id).state == "done", 90, worker)
    wait_until(lambda: bool(collector.spans), 30, worker)
    (span,) = collector.spans
    assert (span.name, span.kind) == ("train", ReceivedSpan.SPAN_KIND_CONSUMER)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACED[3:35], TRACED[36:52])
    assert attributes(span) == {
        "telltale.batch_id": row.id,
        "telltale.model": "default",
        "telltale.model_version": row.version,
    }
    assert collector.resources[0]["service.name"] == "telltale-trainer"
    assert tag(bench) == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"


def test_a_training_that_no_traced_request_asked_for_is_a_trace_of_its_own(bench: Bench) -> None:
    row, sent = accept(bench), Sent()
    asked_by.set(TRACED[:-2] + "00")
    TracedTraining(bench.training, sent).train(row.id)
    (span,) = sent.spans
    assert (span.parent, span.error) == (None, None)
    assert sampled_place(tag(bench)) == span.place
    assert f"{span.place.trace_id:032x}" != TRACED[3:35]


def test_a_trainer_that_does_not_trace_leaves_the_requests_span_on_the_version(bench: Bench) -> None:
    row = accept(bench, TRACED)
    asked_by.set(TRACED)
    TracedTraining(bench.training, None).train(row.id)
    asked_by.set(None)
    assert tag(bench) == TRACED


def test_without_any_trace_the_version_has_no_such_tag(bench: Bench) -> None:
    row = accept(bench)
    asked_by.set(None)
    TracedTraining(bench.training, None).train(row.id)
    assert tag(bench) is None


def test_a_failed_attempt_is_an_error_and_is_raised_all_the_same() -> None:
    class Cursed:
        def train(self, batch_id: str) -> None:
            raise ValueError(batch_id)

    sent = Sent()
    with pytest.raises(ValueError, match="b-1"):
        TracedTraining(Cursed(), sent).train("b-1")
    (span,) = sent.spans
    assert (span.error, span.attributes["error.type"]) == ("ValueError", "ValueError")
