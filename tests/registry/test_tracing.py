"""Rollouts as a collector receives them: one trace for each attempt, nothing of looks that change nothing."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from contract.names import TAG_TRACEPARENT
from faults.controller import Replica
from faults.simulation import KEY, Bad, Simulation
from faults.stage import SimulatedStage
from killpoints.models import Models
from killpoints.scenario import Manifest
from killpoints.scenarios import ERRORS, HALF, spec
from registry.api.status import Attempt, Rejection, ServedModelStatus
from registry.errors import KubernetesUnavailable
from registry.kubernetes.resources import SERVED_MODELS, Resource
from registry.kubernetes.writes import Write
from registry.metrics import RegistryMetrics
from registry.mlflow_registry import Registered
from registry.tracing import Tracing, changes_something, current_look
from registry.tracing_change import attempt_in, place_of
from registry.tracing_logs import OfALook
from registry.tracing_observer import Observer
from registry.tracing_sources import Calls, CarryingExecutor, ObservedModels
from registry.work_queue import Key
from telemetry.pipeline import SpanPipeline
from tests.predictor.observability.collector import Collector, collecting
from tests.registry.span_tree import said

TRACED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CARS = Key("fleet", "cars")


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


@contextmanager
def tracing() -> Iterator[Tracing]:
    """Trace while the block runs; all spans have arrived after it."""
    spans = SpanPipeline("telltale-registry", "1.2.3")
    yield Tracing(spans)
    spans.stop(10)


class TracedModels(Models):
    """MLflow, whose versions were trained in a span."""

    def by_alias(self, model: str, alias: str) -> Registered:
        return replace(super().by_alias(model, alias), tags={TAG_TRACEPARENT: TRACED})


class HeardApi:
    """A simulated API server, each of whose calls is told."""

    def __init__(self, api: Any, calls: Calls) -> None:
        self._api, self._calls, self.writes = api, calls, api.writes

    def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        found: Manifest | None = self._told("get", resource, lambda: self._api.get(resource, namespace, name))
        return found

    def list(self, resource: Resource, *arguments: Any, **options: Any) -> Any:
        return self._told("list", resource, lambda: self._api.list(resource, *arguments, **options))

    def write(self, write: Write) -> Manifest:
        written: Manifest = self._told(write.verb, write.resource, lambda: self._api.write(write))
        return written

    def _told(self, verb: str, resource: Resource, do: Callable[[], Any]) -> Any:
        code = 0
        try:
            answer = do()
            code = 200
        finally:
            self._calls.of_kubernetes(verb, resource.plural, code, 0.0)
        return answer


class Bench:
    """A simulated world whose controller is observed as the real one is."""

    def __init__(self, tracing: Tracing, whole: Manifest) -> None:
        self.tracing, self.results = tracing, list[str]()
        self.simulation = Simulation(1, Bad())
        self.simulation.models = TracedModels()
        self.stage = SimulatedStage(self.simulation, whole)
        self.simulation.cluster.install_gateway("gateway", "telltale", can_mirror=True)
        self.metrics = RegistryMetrics()
        self.away = False
        self.simulation.replica = self.replica()

    def replica(self) -> Replica:
        """Return a controller that knows nothing."""
        simulation, calls = self.simulation, Calls(self.metrics, self.tracing)
        models: Any = ObservedModels(simulation.models, simulation.models, calls)
        former = simulation.make_replica()
        api: Any = HeardApi(former.api, calls)

        def look_soon() -> None:
            self.tracing.has_found(KEY)
            simulation.look_in(0.0)

        made = Replica(
            api,
            KEY,
            models,
            models,
            calls.of_gate("errors", simulation._ask),
            simulation.clock,
            simulation.now,
            look_soon,
        )
        made.reconciler._observer = Observer(self.metrics.rollouts, self.tracing, models)
        reconcile = made.reconciler.reconcile

        def looked(key: Key) -> Any:
            with self.tracing.look(key) as look:
                look.ended("failed", None)
                if self.away:
                    look.error = "away"
                    raise KubernetesUnavailable("away")
                found = reconcile(key)
                look.ended("done", found.again_in)
                return found

        made.reconciler.reconcile = looked  # type: ignore[method-assign]
        return made

    def rest(self, until: str) -> None:
        fault = self.simulation.run_to_rest(lambda phase: phase == until, self.simulation.now(), 300)
        assert fault is None, fault

    def serve(self, until: str = "Healthy") -> None:
        self.stage.move_alias(1)
        self.stage.create()
        self.rest(until)

    def uid(self) -> str:
        found = self.simulation.api.get(SERVED_MODELS, KEY.namespace, KEY.name)
        assert found is not None
        return str(found["metadata"]["uid"])

    def status(self) -> ServedModelStatus:
        found = self.simulation.api.get(SERVED_MODELS, KEY.namespace, KEY.name)
        assert found is not None
        return ServedModelStatus.model_validate(found["status"])


def of_trace(collector: Collector, uid: str, attempt: str) -> list[Span]:
    trace_id = place_of(uid, attempt).trace_id.to_bytes(16)
    return sorted((s for s in collector.spans if s.trace_id == trace_id), key=lambda span: span.start_time_unix_nano)


def named(spans: list[Span], beginning: str) -> list[Span]:
    return [span for span in spans if span.name.startswith(beginning)]


def test_all_looks_of_an_attempt_are_in_one_trace_that_a_rollout_span_closes(collector: Collector) -> None:
    with tracing() as traces:
        bench = Bench(traces, spec(HALF, bake=60))
        bench.serve()
        bench.stage.move_alias(2)
        bench.rest("Healthy")
        status, uid = bench.status(), bench.uid()
    spans = of_trace(collector, uid, f"{status.stable_revision}/2")
    (rollout,) = named(spans, "rollout")
    assert rollout.span_id == place_of(uid, f"{status.stable_revision}/2").span_id.to_bytes(8)
    assert rollout.parent_span_id == b""
    facts = said(rollout)
    assert (facts["telltale.outcome"], facts["telltale.reason"]) == ("promoted", "Promoted")
    assert (facts["telltale.model"], facts["telltale.revision"]) == ("cars", status.stable_revision)
    looks = named(spans, "reconcile")
    assert {look.parent_span_id for look in looks} == {rollout.span_id}
    names = list(dict.fromkeys(look.name.removeprefix("reconcile ") for look in looks))
    assert names == ["Validating", "Progressing", "Promoting", "Baking", "Healthy"]
    (half,) = [look for look in looks if said(look).get("telltale.weight") == 50 and "Progressing" in look.name][:1]
    assert said(half) | {"telltale.message": ""} == {
        "k8s.namespace.name": "fleet",
        "telltale.served_model": "cars",
        "telltale.attempt": f"{status.stable_revision}/2",
        "telltale.phase.before": "Validating",
        "telltale.phase": "Progressing",
        "telltale.stable": said(half)["telltale.stable"],
        "telltale.candidate": status.stable_revision,
        "telltale.weight": 50,
        "telltale.step": 0,
        "telltale.result": "done",
        "telltale.again_in_seconds": said(half)["telltale.again_in_seconds"],
        "telltale.message": "",
    }


def test_the_calls_of_a_look_are_its_children(collector: Collector) -> None:
    with tracing() as traces:
        bench = Bench(traces, spec({"gate": {}}, HALF, gates=[ERRORS]))
        bench.serve()
        uid, status = bench.uid(), bench.status()
    spans = of_trace(collector, uid, f"{status.stable_revision}/1")
    looks = {look.span_id: look for look in named(spans, "reconcile")}
    (applied,) = named(spans, "create httproutes")[:1]
    assert applied.parent_span_id in looks
    assert said(applied) == {
        "peer.service": "kubernetes",
        "telltale.verb": "create",
        "telltale.resource": "httproutes",
        "http.response.status_code": 200,
    }
    asked = named(spans, "prometheus query")
    assert asked
    assert said(asked[0]) == {"peer.service": "prometheus", "telltale.gate": "errors"}
    noted = named(spans, "mlflow set_tags")
    assert noted
    assert all(note.parent_span_id in looks for note in noted), "what is noted later belongs to the look that asked"


def test_the_look_up_that_found_the_alias_moved_is_the_first_thing_in_the_trace(collector: Collector) -> None:
    with tracing() as traces:
        bench = Bench(traces, spec(HALF))
        bench.serve()
        bench.stage.move_alias(2)
        bench.rest("Healthy")
        uid, status = bench.uid(), bench.status()
    spans = of_trace(collector, uid, f"{status.stable_revision}/2")
    (rollout,) = named(spans, "rollout")
    (found,) = named(spans, "mlflow by_alias")
    assert found.parent_span_id == rollout.span_id
    assert min(span.start_time_unix_nano for span in spans) in (
        found.start_time_unix_nano,
        rollout.start_time_unix_nano,
    )
    assert rollout.start_time_unix_nano <= found.start_time_unix_nano


def test_an_attempt_leads_back_to_the_training_of_its_version(collector: Collector) -> None:
    with tracing() as traces:
        bench = Bench(traces, spec(HALF))
        bench.serve()
        uid, status = bench.uid(), bench.status()
    spans = of_trace(collector, uid, f"{status.stable_revision}/1")
    closing = [*named(spans, "rollout"), *named(spans, "reconcile")]
    assert len(closing) > 3
    for span in closing:
        (link,) = span.links
        assert (link.trace_id.hex(), link.span_id.hex()) == (TRACED[3:35], TRACED[36:52])


def test_what_changes_nothing_is_not_sent(collector: Collector) -> None:
    with tracing() as traces:
        bench = Bench(traces, spec(HALF))
        bench.serve()
        before = traces.now()
        for _ in range(20):
            bench.simulation.look_in(0.0)
            bench.simulation.run(20)
    assert [span.name for span in collector.spans if span.start_time_unix_nano > before] == []


def test_a_rejected_attempt_says_so_and_a_promoted_one_that_is_undone_is_a_trace_of_its_own(
    collector: Collector,
) -> None:
    with tracing() as traces:
        bench = Bench(traces, spec({"setWeight": 10}, {"pause": {}}))
        bench.serve("Paused")
        bench.stage.act("Promote")
        bench.rest("Healthy")
        first = bench.status().stable_revision
        bench.stage.move_alias(2)
        bench.rest("Paused")
        aborted = bench.status().candidate_revision
        bench.stage.act("Abort")
        bench.rest("Rejected")
        bench.stage.move_alias(3)
        bench.rest("Paused")
        bench.stage.act("Promote")
        bench.rest("Healthy")
        third = bench.status().stable_revision
        bench.stage.act("Undo")
        bench.rest("Rejected")
        assert bench.status().stable_revision == first
        uid = bench.uid()

    def ending(attempt: str) -> tuple[str, str]:
        (rollout,) = named(of_trace(collector, uid, attempt), "rollout")
        return said(rollout)["telltale.outcome"], said(rollout)["telltale.reason"]

    assert ending(f"{aborted}/2") == ("rejected", "Aborted")
    assert ending(f"{third}/3") == ("promoted", "Promoted")
    assert ending(f"{third}/3/undo") == ("rolled_back", "Undone")
    roots = [span for span in collector.spans if span.name == "rollout"]
    assert len({span.span_id for span in roots}) == len(roots), "each is closed once"


def test_another_replica_goes_on_with_the_same_trace(collector: Collector) -> None:
    with tracing() as traces, tracing() as others:
        bench = Bench(traces, spec({"setWeight": 10}, {"pause": {}}))
        bench.serve("Paused")
        bench.tracing = others
        bench.simulation.replica = bench.replica()
        bench.simulation.replica.relist.step()
        bench.stage.act("Promote")
        bench.rest("Healthy")
        uid, status = bench.uid(), bench.status()
    spans = of_trace(collector, uid, f"{status.stable_revision}/1")
    (rollout,) = named(spans, "rollout")
    phases = {said(look)["telltale.phase"] for look in named(spans, "reconcile")}
    assert {"Validating", "Paused", "Healthy"} <= phases
    assert status.resolved is not None
    assert rollout.start_time_unix_nano / 1e9 == pytest.approx(status.resolved.at.timestamp(), abs=1e-3)


def test_a_look_that_fails_is_sent_though_it_changed_nothing(collector: Collector) -> None:
    with tracing() as traces:
        bench = Bench(traces, spec(HALF))
        bench.serve()
        bench.away = True
        before = traces.now()
        bench.simulation.look_in(0.0)
        bench.simulation.run(0.1)
    failed = [span for span in collector.spans if span.start_time_unix_nano > before]
    assert [(span.name, span.status.code) for span in failed] == [("reconcile", Status.STATUS_CODE_ERROR)]
    assert failed[0].status.message == "away"


def test_a_slow_look_is_sent_and_so_is_one_of_which_the_log_tells(collector: Collector) -> None:
    seconds = [0]
    spans = SpanPipeline("telltale-registry", "")
    traces = Tracing(spans, clock=lambda: 1_767_225_600_000_000_000 + seconds[0])
    for nanoseconds in (999_999_999, 1_000_000_000):
        with traces.look(CARS) as look:
            seconds[0] += nanoseconds
            look.ended("done", None)
    with traces.look(CARS) as look:
        record = logging.makeLogRecord({"levelno": logging.INFO})
        assert OfALook().filter(record)
        look.ended("done", None)
    spans.stop(10)
    slow, told = sorted(collector.spans, key=lambda span: span.start_time_unix_nano)
    assert slow.end_time_unix_nano - slow.start_time_unix_nano == 1_000_000_000
    assert (vars(record)["trace_id"], vars(record)["span_id"]) == (told.trace_id.hex(), told.span_id.hex())


@pytest.mark.parametrize(
    ("verb", "resource", "code", "changes"),
    [
        ("list", "httproutes", 200, False),
        ("replaceStatus", "servedmodels", 200, False),
        ("create", "events", 201, False),
        ("apply", "httproutes", 409, False),
        ("apply", "httproutes", 200, True),
        ("replaceStatus", "rolloutactions", 200, True),
    ],
)
def test_only_what_was_written_and_is_more_than_a_message_makes_a_look_worth_sending(
    verb: str, resource: str, code: int, changes: bool
) -> None:
    assert changes_something(verb, resource, code) is changes


def call_later(started: Event, traces: Tracing) -> None:
    assert started.wait(10)
    traces.called("mlflow run", 0.0, {})


def test_what_a_thread_calls_for_a_look_belongs_to_it_also_after_its_end(collector: Collector) -> None:
    executor, started = CarryingExecutor(1), Event()
    with tracing() as traces:
        with traces.look(CARS) as look:
            assert executor.submit(current_look.get).result(10) is look
            traces.called("apply httproutes", 0.0, {}, changes=True)
            later = executor.submit(call_later, started, traces)
            look.ended("done", None)
        started.set()
        later.result(10)
    executor.shutdown()
    (root,) = named(collector.spans, "reconcile")
    assert {span.name for span in collector.spans if span.parent_span_id == root.span_id} == {
        "apply httproutes",
        "mlflow run",
    }


def test_an_attempt_is_known_by_its_status_alone() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    rolling = ServedModelStatus(phase="Progressing", attempt=Attempt(id="cars-2/7", step_started_at=now), attempts=7)
    assert attempt_in(rolling) == "cars-2/7"
    baking = ServedModelStatus(phase="Baking", stable_revision="cars-2", attempts=7, baking_until=now)
    assert attempt_in(baking) == "cars-2/7", "it is watched, and the attempt goes on"
    undone = Rejection(revision="cars-2", reason="Undone", message="", at=now, served=True)
    back = ServedModelStatus(phase="RollingBack", stable_revision="cars-1", attempts=7, rejected_revisions=[undone])
    assert attempt_in(back) == "cars-2/7/undo"
    assert attempt_in(ServedModelStatus(phase="Healthy", stable_revision="cars-1", attempts=7)) is None


def test_the_trace_of_an_attempt_can_be_computed_by_hand() -> None:
    # printf 'telltale/%s/%s' UID ATTEMPT | sha256sum | cut -c1-48
    place = place_of("0b7f8f0e-6f9b-4a53-9d6c-3a7f0c2f1a11", "cars-2/7")
    assert f"{place.trace_id:032x}{place.span_id:016x}" == "bf9de1b56e974cea8db9fc1db3ddc24589def829ccca1d50"


def test_without_a_collector_nothing_of_opentelemetry_is_loaded() -> None:
    program = (
        "import sys; import registry.tracing, registry.tracing_logs, telemetry.spans as t;"
        "assert t.pipeline_for('x', {}) is None;"
        "assert t.pipeline_for('x', {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://c', 'OTEL_SDK_DISABLED': 'true'}) is None;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
