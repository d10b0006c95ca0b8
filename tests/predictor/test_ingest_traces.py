"""A traced request hands its trace on to the training that it sets off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.predictor.observability.collector import Collector, collecting
from tests.predictor.records import batch
from tests.predictor.running import Running, running
from tests.predictor.simulated_trainer import SimulatedTrainer

pytestmark = pytest.mark.integration

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = SAMPLED[:-1] + "0"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector, which OpenTelemetry's variables name."""
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    with collecting() as collector:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.removesuffix("/v1/traces"))
        yield collector


@pytest.fixture
def traced(database_url: str, objects: Path, trainer: SimulatedTrainer, collector: Collector) -> Iterator[Running]:  # noqa: ARG001
    """A predictor that traces what its clients trace, and nothing else."""
    with running(database_url, objects, trace_sample_ratio=0) as started:
        tracing = started.predictor.early.tracing
        assert tracing is not None
        assert tracing.wait(30)
        yield started


def jobs(trainer: SimulatedTrainer) -> list[dict[str, Any]]:
    """Return the arguments of the queued jobs, oldest first."""
    with trainer.postgres.transaction() as connection:
        return [row[0] for row in connection.execute("SELECT args FROM procrastinate_jobs ORDER BY id").fetchall()]


def test_a_sampled_request_goes_along_with_its_job_and_others_do_not(
    traced: Running, trainer: SimulatedTrainer, collector: Collector, until: Callable[[Callable[[], bool]], None]
) -> None:
    """The job names the server's span of the request."""
    for headers in ({"traceparent": SAMPLED}, {"traceparent": NOT_SAMPLED}, {}):
        assert traced.client.post("/ingest", json=batch(), headers=headers).status_code == 201
    until(lambda: bool(collector.spans))
    (span,) = collector.named("POST /ingest")
    first, *others = jobs(trainer)
    assert first["traceparent"] == f"{SAMPLED[:36]}{span.span_id.hex()}-01"
    assert [set(job) for job in others] == [{"batch_id"}, {"batch_id"}]
