"""`telltale simulate` against a small fake server."""

from __future__ import annotations

import io
import json
import socket
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from standalone.client import Client, Refused
from standalone.fleet import FAULTS, FEATURES
from standalone.simulate import Outcome, Plan, closing_lines, fleet_of, simulate, simulate_command, summary

END = datetime(2024, 1, 15, 12, tzinfo=UTC)
PLAN = Plan(model="simulated-fleet", vehicles=8, hours=2.0, score_hours=2.0, batches=3, faulty=8, seed=1, end=END)


class FakeServer:
    """Counts batches as versions, and flags what any workshop would: hot, low voltage, low tyre, wrong speed."""

    def __init__(self, refusal: httpx.Response | None = None) -> None:
        self.batches: list[list[dict[str, object]]] = []
        self.scored: list[dict[str, object]] = []
        self.refusal = refusal

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if self.refusal is not None:
            return self.refusal
        if request.url.path == "/ingest":
            return self._ingest(body["records"], body["model"])
        self.scored += body
        return httpx.Response(200, json=[self._score(record) for record in body])

    def _ingest(self, records: list[dict[str, object]], model: str) -> httpx.Response:
        self.batches.append(records)
        version = f"2024011512000{len(self.batches)}"
        told = {"model": model, "model_version": version, "record_count": len(records), "warnings": [], "served": True}
        return httpx.Response(201, json=told | ({"warnings": ["few [records]"]} if len(self.batches) == 1 else {}))

    def _score(self, record: dict[str, object]) -> dict[str, object]:
        told = record["features"]
        assert isinstance(told, dict)
        speed, mismatch, _, load, hot, voltage, tyre, _ = (told[name] for name in FEATURES)
        del speed
        odd = hot > 15 or (voltage < 93 and load > 0) or tyre < 90 or abs(mismatch) > 10
        return {"vehicle_id": record["vehicle_id"], "anomaly_score": -0.1 if odd else 0.1, "is_anomaly": odd}


def run(server: FakeServer, plan: Plan = PLAN) -> tuple[Outcome, str]:
    screen = io.StringIO()
    with Client("http://telltale.test", transport=httpx.MockTransport(server)) as client:
        console = Console(file=screen, width=100)
        outcome = simulate(plan, client, console)
        console.print(summary(outcome))
    return outcome, screen.getvalue()


def test_the_past_trains_in_batches_and_what_follows_is_scored_by_the_last_version() -> None:
    server = FakeServer()
    outcome, printed = run(server)
    assert [len(batch) for batch in server.batches] == [320, 320, 320]
    assert len(server.scored) == 960
    assert {record["model_version"] for record in server.scored} == {"20240115120003"}
    assert {record["model"] for record in server.scored} == {"simulated-fleet"}
    assert outcome.version == "20240115120003"
    assert outcome.trained == 960
    last_trained = max(str(record["timestamp"]) for record in server.batches[-1])
    assert last_trained < min(str(record["timestamp"]) for record in server.scored)
    assert "batch 3: 320 records trained simulated-fleet 20240115120003" in printed
    assert "few [records]" in printed


def test_the_server_never_sees_a_label() -> None:
    server = FakeServer()
    run(server)
    assert set(server.batches[0][0]) == {"vehicle_id", "timestamp", "features"}
    assert set(server.scored[0]) == {"vehicle_id", "timestamp", "features", "model", "model_version"}


def test_the_table_has_every_fault_and_the_healthy_records() -> None:
    outcome, printed = run(FakeServer())
    for name in (*FAULTS, "healthy"):
        assert name in printed
    faulty = outcome.scored.faults > 0
    assert outcome.flagged[faulty].mean() > 0.5
    assert outcome.flagged[~faulty].mean() < 0.05
    assert " min" in printed


def test_faults_that_are_never_flagged_say_so() -> None:
    outcome, _ = run(FakeServer())
    blind = Outcome(outcome.scored, np.zeros_like(outcome.flagged), "v", 1, 0.0, 0.0)
    screen = io.StringIO()
    Console(file=screen, width=100).print(summary(blind))
    assert "never" in screen.getvalue()
    assert "flagged 0.0% of the records with a fault" in closing_lines(blind, "m")


def test_a_healthy_fleet_has_false_flags_alone_in_its_table() -> None:
    outcome, printed = run(FakeServer(), Plan("m", 2, 1.0, 0.5, 1, 0, 1, END))
    assert not (outcome.scored.faults > 0).any()
    assert "overheating" not in printed
    assert not any("with a fault" in line for line in closing_lines(outcome, "m"))


def test_the_last_record_has_the_end_as_its_time_and_the_plan_alone_decides_the_rest() -> None:
    past, present = fleet_of(PLAN)
    assert present.times[-1] == END
    assert present.times[0] - past.times[-1] == timedelta(minutes=1)
    again = fleet_of(PLAN)
    assert past.records() == again[0].records()
    assert present.labels() == again[1].labels()


def test_more_batches_than_minutes_make_a_batch_a_minute() -> None:
    server = FakeServer()
    run(server, Plan("m", 1, 0.1, 0.1, 100, 1, 1, END))
    assert [len(batch) for batch in server.batches] == [1] * 6


def test_a_refusal_ends_the_simulation() -> None:
    refusal = httpx.Response(422, json={"title": "Bad", "detail": "the model has other features", "status": 422})
    with pytest.raises(Refused, match="other features"):
        run(FakeServer(refusal))


def test_without_a_server_the_command_says_so_and_exits_with_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(simulate_command, ["--vehicles", "1", "--hours", "0.1"], env={"TELLTALE_URL": url})
    assert result.exit_code == 1
    assert f"is `telltale serve` running at {url}?" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--vehicles", "3", "--faults", "4"], "4 faults need as many vehicles"),
        (["--model", "My Model"], "a model's name is 1 to 63 of"),
        (["--vehicles", "10000", "--hours", "8784"], "more than 2,000,000 records"),
        (["--hours", "0"], "--hours"),
    ],
)
def test_arguments_that_cannot_be_are_refused_before_anything_is_sent(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(simulate_command, arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_help_names_every_option() -> None:
    printed = CliRunner().invoke(simulate_command, ["--help"]).output
    for option in ("--url", "--vehicles", "--hours", "--score-hours", "--batches", "--faults", "--seed", "--model"):
        assert option in printed
