"""A whole rollout as a collector, a scraper and a reader of the log see it."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from contract.names import TAG_TRACEPARENT
from killpoints.query_server import QueryServer
from registry.kubernetes.resources import HTTP_ROUTES, SECRETS, SERVED_MODELS, Manifest
from registry.tracing_change import place_of
from telemetry.spans import SpanPlace
from tests.predictor.observability.collector import Collector, collecting
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.conftest import Start
from tests.registry.cluster.controller_process import ControllerProcess
from tests.registry.cluster.mlflow_process import Versions
from tests.registry.span_tree import drawn, said
from tests.waiting import wait_for

TRACED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STEPS = [{"setWeight": 10}, {"gate": {}}, {"setWeight": 50}]
ERRORS = {"name": "errors", "prometheus": {"query": "errors of {candidate}", "max": 0.01}}
TOKEN, HOOK = "prometheus-secret-token", "https://127.0.0.1:1/hooks/webhook-secret"
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "200", "NO_PROXY": "127.0.0.1"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def probe(controller: ControllerProcess, path: str = "/readyz") -> dict[str, Any]:
    """Return what a probe answers, well or ill."""
    try:
        answer = controller.ask(path)
    except urllib.error.HTTPError as error:
        answer = error.read().decode()
    told: dict[str, Any] = json.loads(answer)
    return told


def stamp(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def traced(collector: Collector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint.removesuffix("/v1/traces"), **QUICK}


def make_hook(cluster: Cluster) -> None:
    """Make the Secret `hook` with a webhook's URL, which nobody answers."""
    metadata = {"name": "hook", "namespace": cluster.namespace}
    data = {"url": base64.b64encode(HOOK.encode()).decode()}
    cluster.post(
        SECRETS.path(cluster.namespace), {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    )


def roll_out_another(cluster: Cluster, versions: Versions, model: str) -> SpanPlace:
    """Move the alias to a version whose training was traced, and wait for its end; return where its trace begins."""
    stable = cluster.wait_for_phase("Healthy")["stableRevision"]
    second = versions.register(model, "20260102000000")
    versions.client.set_model_version_tag(model, second, TAG_TRACEPARENT, TRACED)
    versions.alias(model, second)

    def candidate() -> str | None:
        status = cluster.status()
        return status["stableRevision"] if status["phase"] == "Healthy" and status["stableRevision"] != stable else None

    attempt = f"{wait_for(candidate, 'the second version', 60)}/2"
    found = cluster.get(SERVED_MODELS, "cars")
    assert found is not None
    return place_of(found["metadata"]["uid"], attempt)


def check_trace(spans: list[Span], place: SpanPlace) -> list[Span]:
    """Check a promoted attempt's trace; return its looks."""
    (rollout,) = [span for span in spans if span.name == "rollout"]
    assert rollout.span_id == place.span_id.to_bytes(8)
    assert said(rollout)["telltale.outcome"] == "promoted"
    (link,) = rollout.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (TRACED[3:35], TRACED[36:52])
    looks = [span for span in spans if span.name.startswith("reconcile")]
    looks.sort(key=lambda span: span.start_time_unix_nano)
    assert all(look.parent_span_id == rollout.span_id for look in looks)
    phases = [said(look).get("telltale.phase") for look in looks]
    assert list(dict.fromkeys(phases)) == ["Validating", "Progressing", "Promoting", "Baking", "Healthy"]
    weights = [said(look)["telltale.weight"] for look in looks if "telltale.weight" in said(look)]
    assert sorted(set(weights)) == [0, 10, 50, 100]
    names = {span.name for span in spans}
    assert names >= {"mlflow by_alias", "prometheus query", "get servedmodels", "apply httproutes", "mlflow set_alias"}
    began = min(span.start_time_unix_nano for span in spans)
    assert rollout.start_time_unix_nano == began, "the first thing in it is the look-up that found the alias moved"
    return looks


def test_an_alias_that_is_moved_is_one_trace_to_the_end_and_leads_back_to_the_training(
    cluster: Cluster,
    versions: Versions,
    model: str,
    serve: Callable[..., Manifest],
    start_controller: Start,
    collector: Collector,
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    make_hook(cluster)
    with QueryServer() as prometheus:
        prometheus.answers["cars"] = 0.0
        asked = {"TELLTALE_PROMETHEUS_URL": prometheus.url, "TELLTALE_PROMETHEUS_TOKEN": TOKEN}
        controller = start_controller(**traced(collector), **asked, TELLTALE_LOG_LEVEL="debug")
        wait_for(lambda: probe(controller)["status"] == "ok", "readiness")
        serve(
            rollout={"steps": STEPS, "progressDeadlineSeconds": 60},
            gates=[{"name": "flags", "mlflow": {"metric": "holdout_flag_rate", "max": 0.2}}, ERRORS],
            notifications={"webhookSecret": "hook"},
        )
        place = roll_out_another(cluster, versions, model)

        def spans() -> list[Span]:
            return [span for span in collector.spans if span.trace_id == place.trace_id.to_bytes(16)]

        wait_for(lambda: any(span.name == "rollout" for span in spans()), "the rollout's span")
        wait_for(lambda: any(span.name == "mlflow set_alias" for span in spans()), "the notes in MLflow")
        metrics = controller.ask("/metrics")
    print("\n".join(drawn(spans())))  # noqa: T201 - for people
    looks = check_trace(spans(), place)

    decisions = [line for line in controller.lines() if line.get("attempt", "").endswith("/2") and "phase" in line]
    assert decisions
    for line in decisions:
        assert (line["served_model"], line["namespace"]) == ("cars", cluster.namespace)
        assert line["trace_id"] == f"{place.trace_id:032x}"
        assert any(look.span_id.hex() == line["span_id"] for look in looks)
    whole = controller.log.read_text() + metrics
    for secret in (TOKEN, HOOK, "webhook-secret"):
        assert secret not in whole
    healthy = f'telltale_registry_phase{{namespace="{cluster.namespace}",phase="Healthy",served_model="cars"}} 1.0'
    assert healthy in metrics
    assert "telltale_registry_attempts_total{" in metrics


def test_a_controller_at_rest_sends_nothing_and_a_follower_is_ready_and_tells_no_rollouts(
    cluster: Cluster,
    versions: Versions,
    model: str,
    serve: Callable[..., Manifest],
    start_controller: Start,
    collector: Collector,
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    leader = start_controller(**traced(collector))
    serve()
    cluster.wait_for_phase("Healthy")
    follower = start_controller("two", **traced(collector))
    wait_for(lambda: probe(follower)["status"] == "ok", "the follower's readiness")
    assert probe(follower)["leading"] is False
    assert "telltale_registry_phase{" not in follower.ask("/metrics")
    assert follower.stop() == 0
    wait_for(lambda: "telltale_registry_write_back_pending 0.0" in leader.ask("/metrics"), "the notes in MLflow")
    is_at_rest = re.compile(r"^telltale_registry_queue_depth 0\.0$", re.MULTILINE)
    wait_for(lambda: is_at_rest.search(leader.ask("/metrics")), "rest")

    def looks() -> float:
        lines = [line for line in leader.ask("/metrics").splitlines() if "reconcile_seconds_count" in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    for number in range(3):  # each is an event, and so a look
        before = looks()
        cluster.patch(HTTP_ROUTES, "cars", {"metadata": {"annotations": {"touched": str(number)}}})
        wait_for(lambda: looks() > before, "a look")  # noqa: B023 - it is called in this round
    assert leader.stop() == 0  # which sends what waits
    last = [line["time"] for line in leader.lines() if "phase" in line][-1]
    late = [span for span in collector.spans if span.start_time_unix_nano / 1e9 > stamp(last) + 2]
    assert not late, "\n".join(drawn(late))
