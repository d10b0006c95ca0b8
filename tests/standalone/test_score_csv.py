"""`telltale score-csv` against a fake server that trains real forests."""

from __future__ import annotations

import csv
import io
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from rich.console import Console
from sklearn.ensemble import IsolationForest

from contract.columns import to_batch, to_matrix
from contract.telemetry import Limits, decode_ingest, decode_score
from standalone.client import Client
from standalone.csv_input import Table, read_table
from standalone.score_csv import records_of, score_csv_command, score_file, train_and_score

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "nab"
NAB_FILE = "realAWSCloudwatch/ec2_cpu_utilization_24ae8d.csv"


class FakeServer:
    """Checks requests by the contract, trains each model on all its batches, and scores with the version asked for."""

    def __init__(self) -> None:
        self.batches: dict[str, list[NDArray[np.float64]]] = {}
        self.forests: dict[tuple[str, str | None], tuple[IsolationForest, tuple[str, ...]]] = {}
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        serve = self._ingest if request.url.path == "/ingest" else self._score
        return serve(request.content)

    def _ingest(self, body: bytes) -> httpx.Response:
        request = decode_ingest(body, now=datetime.now(UTC), limits=Limits())
        batch = to_batch(request, tuple(request.records[0].features or ()))
        assert (np.diff(batch.timestamps) >= 0).all()
        batches = self.batches.setdefault(request.model, [])
        batches.append(batch.X)
        version = f"2024011510000{len(batches)}"
        forest = IsolationForest(n_estimators=50, contamination=0.05, random_state=0).fit(np.concatenate(batches))
        self.forests[request.model, version] = forest, batch.feature_names
        told = {"model": request.model, "model_version": version, "record_count": len(batch), "served": True}
        return httpx.Response(201, json=told | {"warnings": ["few records"] if len(batch) < 20 else []})

    def _score(self, body: bytes) -> httpx.Response:
        records, _ = decode_score(body, now=datetime.now(UTC), limits=Limits())
        forest, names = self.forests[records[0].model, records[0].model_version]
        X = to_matrix(records, names, [""] * len(records), model=records[0].model)
        told = [
            {
                "vehicle_id": record.vehicle_id,
                "anomaly_score": score,
                "is_anomaly": score < 0,
                "model_version": record.model_version,
            }
            for record, score in zip(records, forest.decision_function(X).tolist(), strict=True)
        ]
        return httpx.Response(200, json=told)


def connect(server: Callable[[httpx.Request], httpx.Response]) -> Client:
    return Client("http://telltale.test", transport=httpx.MockTransport(server))


def run(table: Table, source: Path, folder: Path) -> tuple[str, list[dict[str, str]]]:
    """Score ``table`` and return what was printed and the rows of the CSV that was written."""
    screen = io.StringIO()
    with connect(FakeServer()) as client:
        score_file(
            table,
            source=source,
            model="m",
            client=client,
            console=Console(file=screen, width=80),
            out_csv=folder / "out.csv",
            out_plot=folder / "out.png",
        )
    with (folder / "out.csv").open(encoding="utf-8", newline="") as file:
        return screen.getvalue(), list(csv.DictReader(file))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of 100 minutes, the newest first, of two vehicles and with a comment, in which minute 50 is odd."""
    lines = ["when,vin,Temp,comment"]
    for minute in reversed(range(100)):
        value = 95.5 if minute == 50 else 20.0 + minute % 5
        lines.append(f'2024-01-15 {10 + minute // 60}:{minute % 60:02},VH-{minute % 2},{value},"so, so"')
    path = tmp_path / "Fleet [A].csv"
    path.write_text("\n".join(lines))
    return path


def test_the_scores_stand_beside_the_rows_as_they_were(source: Path, tmp_path: Path) -> None:
    printed, rows = run(read_table(source, time_column="when"), source, tmp_path)
    assert list(rows[0]) == ["when", "vin", "Temp", "comment", "anomaly_score", "is_anomaly", "model_version"]
    assert rows[0]["when"] == "2024-01-15 11:39"
    assert rows[0]["comment"] == "so, so"
    lowest = min(rows, key=lambda row: float(row["anomaly_score"]))
    assert (lowest["Temp"], lowest["is_anomaly"], lowest["model_version"]) == ("95.5", "true", "20240115100001")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert "Fleet [A].csv: 100 rows, time in 'when', features: Temp" in printed
    assert "not numeric, so ignored: comment" in printed
    assert "2024-01-15 10:50:00" in printed
    assert "Temp 95.5" in printed
    assert "VH-0" in printed
    assert "model m, version 20240115100001: " in printed


def test_more_rows_than_a_request_takes_go_in_several_and_the_last_version_scores_them() -> None:
    rows = 100_001
    table = Table(
        header=("time", "v"),
        cells=[],
        time_column="time",
        feature_names=("v",),
        vehicle_ids=["VH-1"] * rows,
        times=np.datetime64("2024-01-15", "us") + np.arange(rows) * np.timedelta64(1_000, "us"),
        X=np.random.default_rng(0).normal(size=(rows, 1)),
        notes=(),
    )
    server = FakeServer()
    screen = io.StringIO()
    with connect(server) as client:
        scores = train_and_score(table, model="m", client=client, console=Console(file=screen))
    assert server.asked == ["/ingest"] * 2 + ["/score"] * 11
    assert scores.trained.model_version == "20240115100002"
    assert len(scores.anomaly_score) == rows
    assert 0.04 < scores.is_anomaly.mean() < 0.06
    assert "warning: few records" in screen.getvalue()


def test_records_keep_fractions_of_seconds_where_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("time,v\n2024-01-15 10:00:00,1\n")
    assert records_of(read_table(path)) == [
        {"vehicle_id": "data", "timestamp": "2024-01-15T10:00:00Z", "features": {"v": 1.0}}
    ]
    path.write_text("time,v\n2024-01-15 10:00:00.25,1\n")
    assert records_of(read_table(path))[0]["timestamp"] == "2024-01-15T10:00:00.250000Z"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the NAB data set (github.com/numenta/NAB) in {SHARED}")
def test_both_labelled_anomalies_of_a_nab_file_are_flagged_and_printed(tmp_path: Path) -> None:
    labels = json.loads((SHARED / "combined_labels.json").read_text())[NAB_FILE]
    source = SHARED / NAB_FILE
    printed, rows = run(read_table(source), source, tmp_path)
    flags = {row["timestamp"]: row["is_anomaly"] for row in rows}
    assert len(rows) == 4032
    assert len(labels) == 2
    for label in labels:
        assert flags[label] == "true"
        assert label in printed


def invoke(*arguments: object, url: str = "http://127.0.0.1:9") -> tuple[int, str]:
    result = CliRunner().invoke(score_csv_command, ["--url", url, *map(str, arguments)])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def test_without_a_server_the_command_says_so_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    out = ("--out-csv", tmp_path / "a.csv", "--out-plot", tmp_path / "a.png")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, printed = invoke(source, "--time-column", "when", *out, url=url)
    assert code == 1
    assert f"is `telltale serve` running at {url}?" in printed
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_a_file_that_cannot_be_read_ends_the_command_with_the_reason(source: Path, tmp_path: Path) -> None:
    assert invoke(tmp_path / "none.csv") == (1, f"Error: there is no file {tmp_path / 'none.csv'}\n")
    code, printed = invoke(source)
    assert code == 1
    assert "pass --time-column" in printed


@pytest.mark.parametrize(
    ("option", "place", "words"),
    [
        ("--out-csv", "Fleet [A].csv", "is the file to score"),
        ("--out-plot", "Fleet [A].csv", "is the file to score"),
        ("--out-csv", "none/scores.csv", "there is no folder"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_before_any_work(
    source: Path, tmp_path: Path, option: str, place: str, words: str
) -> None:
    before = source.read_bytes()
    code, printed = invoke(source, option, tmp_path / place)
    assert code == 2
    assert words in printed
    assert source.read_bytes() == before


def test_both_outputs_in_one_file_and_bad_model_names_are_refused(source: Path, tmp_path: Path) -> None:
    same = tmp_path / "out"
    assert "cannot both be" in invoke(source, "--out-csv", same, "--out-plot", same)[1]
    code, printed = invoke(source, "--model", "My Model")
    assert code == 2
    assert "a model's name is 1 to 63 of" in printed


def test_help_names_every_option() -> None:
    printed = invoke("--help")[1]
    for option in ("FILE", "--model", "--time-column", "--id-column", "--column", "--out-csv", "--out-plot"):
        assert option in printed
