"""What Prometheus is told: names that its linter likes, rollouts by the leader alone, and nothing of what is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from registry.metrics import RegistryMetrics
from registry.rollout_metrics import Serving, Standing
from registry.work_queue import Key

CARS, VANS = Key("fleet", "cars"), Key("fleet", "vans")
OF_CARS = {"namespace": "fleet", "served_model": "cars"}
SERVING = Serving("default", "20260101000000", "1", "cars-1")


class Bench:
    """A replica's metrics, and what they are read from."""

    def __init__(self) -> None:
        self.leads = True
        self.metrics = RegistryMetrics(spans=lambda: {"exported": 5, "failed": 0}, clock=lambda: 1_767_225_600.0)
        self.metrics.read(
            queue_depth=lambda: 3.0, is_leading=lambda: self.leads, silence=lambda: 1.5, unwritten=lambda: 7
        )
        self.rollouts = self.metrics.rollouts

    def series(self, name: str) -> dict[frozenset[tuple[str, str]], float]:
        text = self.metrics.exposition().decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {frozenset(found.labels.items()): found.value for found in samples if found.name == name}

    def value(self, name: str, **labels: str) -> float | None:
        return self.series(f"telltale_registry_{name}").get(frozenset(labels.items()))

    def fill(self) -> None:
        """Let everything happen once."""
        self.rollouts.stands(CARS, Standing("Progressing", 10, {"flags": "Passed", "errors": "NoData"}, SERVING))
        self.rollouts.stands(VANS, Standing("Pending"))
        self.rollouts.ended(CARS, "rejected", "GateFailed")
        self.rollouts.acted(CARS, "Abort", "Applied")
        self.metrics.asked("mlflow", "aliases", 0.02, is_up=True)
        self.metrics.asked("prometheus", "query", 2.0, is_up=False)
        self.metrics.polled()
        self.metrics.reconciled("done", 0.01)
        self.metrics.called("apply", "httproutes", 200, 0.01)


@pytest.fixture
def bench() -> Bench:
    found = Bench()
    found.fill()
    return found


def test_a_rollout_is_told_by_phase_weight_gates_and_what_serves(bench: Bench) -> None:
    assert bench.value("phase", **OF_CARS, phase="Progressing") == 1
    assert bench.value("candidate_weight_ratio", **OF_CARS) == 0.1
    assert bench.value("gate_state", **OF_CARS, gate="errors", state="NoData") == 1
    serving = {"model": "default", "version": "20260101000000", "mlflow_version": "1", "revision": "cars-1"}
    assert bench.value("stable_version_info", **OF_CARS, **serving) == 1
    assert bench.value("attempts_total", **OF_CARS, outcome="rejected", reason="GateFailed") == 1
    assert bench.value("actions_total", **OF_CARS, action="Abort", result="Applied") == 1


def test_sources_are_told_with_their_latency_and_the_last_poll(bench: Bench) -> None:
    assert (bench.value("source_up", source="mlflow"), bench.value("source_up", source="prometheus")) == (1, 0)
    assert bench.value("source_seconds_count", source="mlflow", call="aliases") == 1
    assert bench.value("source_failures_total", source="prometheus", call="query") == 1
    assert bench.value("mlflow_last_poll_timestamp_seconds") == 1_767_225_600
    assert bench.value("write_back_pending") == 7
    assert bench.value("spans_total", outcome="exported") == 5


def test_a_new_standing_takes_the_place_of_the_former_series(bench: Bench) -> None:
    bench.rollouts.stands(CARS, Standing("Healthy", None, {"flags": "Passed"}, SERVING))
    phases = bench.series("telltale_registry_phase")
    assert [dict(labels)["phase"] for labels in phases if ("served_model", "cars") in labels] == ["Healthy"]
    assert bench.series("telltale_registry_candidate_weight_ratio") == {}
    assert len(bench.series("telltale_registry_gate_state")) == 1


def test_the_series_of_a_served_model_go_with_it_and_those_of_others_stay(bench: Bench) -> None:
    bench.rollouts.gone(CARS)
    assert 'served_model="cars"' not in bench.metrics.exposition().decode()
    assert bench.value("phase", namespace="fleet", served_model="vans", phase="Pending") == 1


def test_a_replica_that_does_not_lead_tells_no_rollouts_and_still_of_itself(bench: Bench) -> None:
    bench.leads = False
    text = bench.metrics.exposition().decode()
    assert "served_model=" not in text
    for name in ("source_up", "write_back_pending", "mlflow_last_poll_timestamp_seconds"):
        assert f"telltale_registry_{name}" not in text
    assert (bench.value("leading"), bench.value("queue_depth"), bench.value("last_reconcile_age_seconds")) == (
        0,
        3,
        1.5,
    )
    assert bench.value("reconcile_seconds_count", result="done") == 1
    assert bench.value("api_calls_total", verb="apply", resource="httproutes", code="200") == 1


def test_a_replica_that_leads_again_tells_nothing_of_what_it_knew_before(bench: Bench) -> None:
    bench.leads = False
    bench.metrics.leads(False)
    bench.metrics.leads(True)
    bench.leads = True
    assert "served_model=" not in bench.metrics.exposition().decode()
    assert bench.value("leadership_changes_total", change="lost") == 1
    assert bench.value("leadership_changes_total", change="gained") == 1


def test_a_thousand_served_models_are_scraped_at_once() -> None:
    bench = Bench()
    for number in range(1000):
        bench.rollouts.stands(Key("fleet", f"m{number}"), Standing("Healthy", None, {}, SERVING))
    assert len(bench.series("telltale_registry_phase")) == 1000


def test_prometheus_linter_has_nothing_to_say(bench: Bench) -> None:
    given = os.environ.get("TELLTALE_TEST_PROMETHEUS")
    beside = None if given is None else Path(given).with_name("promtool")
    program = str(beside) if beside is not None and beside.exists() else shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool: on the path, or beside the Prometheus that TELLTALE_TEST_PROMETHEUS names")
    checked = subprocess.run(
        [program, "check", "metrics"], input=bench.metrics.exposition(), capture_output=True, check=False, timeout=30
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
