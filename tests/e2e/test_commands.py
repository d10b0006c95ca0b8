"""`telltale score-csv` and `telltale simulate` against a real server."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import httpx
import pytest

from benchmarks.server import Server
from tests.e2e.test_serve import telltale

pytestmark = pytest.mark.e2e

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "nab"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the NAB data in ../shared/data/nab")
LABELLED = "realAWSCloudwatch/ec2_cpu_utilization_24ae8d.csv"
# Every ninth of the 34 files, so that each folder has one; the labelled one has a test of its own.
SAMPLE = [path.relative_to(DATA).as_posix() for path in sorted(DATA.glob("*/*.csv"))[::9]] if DATA.is_dir() else []


def scored(server: Server, file: Path, folder: Path) -> list[dict[str, str]]:
    out = folder / "scores.csv"
    plot = folder / "scores.png"
    done = telltale(
        "score-csv", str(file), "--url", server.url, "--out-csv", str(out), "--out-plot", str(plot), timeout=120
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    with out.open(newline="") as rows:
        return list(csv.DictReader(rows))


@needs_data
def test_both_labelled_points_of_the_nab_file_are_flagged_and_score_serves_the_same_version(
    server: Server, tmp_path: Path
) -> None:
    rows = scored(server, DATA / LABELLED, tmp_path)
    labels = json.loads((DATA / "combined_labels.json").read_text())[LABELLED]
    flagged = {row["timestamp"][:19].replace("T", " ") for row in rows if row["is_anomaly"].lower() == "true"}
    assert len(labels) == 2
    assert set(labels) <= flagged
    record = {
        "model": "ec2_cpu_utilization_24ae8d",
        "vehicle_id": "x",
        "timestamp": "2014-02-26T22:05:00Z",
        "features": {"value": 2.344},
    }
    answer = httpx.post(f"{server.url}/score", json=record).json()
    assert answer["model_version"] == rows[0]["model_version"]
    assert answer["is_anomaly"] is True


@needs_data
@pytest.mark.parametrize("file", SAMPLE)
def test_other_nab_files_go_through(server: Server, tmp_path: Path, file: str) -> None:
    assert len(scored(server, DATA / file, tmp_path)) > 1000


def test_a_simulated_fleet_is_trained_and_its_faults_are_counted(server: Server) -> None:
    done = telltale("simulate", "--url", server.url, timeout=200)
    assert done.returncode == 0, done.stderr + done.stdout
    for fault in ("overheating", "voltage", "tyre", "stuck"):
        assert fault in done.stdout.lower()
    assert "Traceback" not in done.stderr
