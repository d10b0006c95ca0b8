"""Whole runs, short ones: a good predictor passes, and one with planted defects does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from soak.outcome import LEAST_SAMPLES, failures
from soak.report import write
from soak.run import run

REQUESTS = 5_000
STRANGERS = 500

pytestmark = pytest.mark.integration


def test_a_good_predictor_answers_every_kind_as_it_must(database_url: str, tmp_path: Path) -> None:
    """Every status, every line of the log and every count is right; so few requests say nothing about memory."""
    outcome = run(REQUESTS, database_url, strangers=STRANGERS)
    assert [failure for failure in failures(outcome) if not failure.startswith("memory grows")] == []
    assert sum(outcome.by_kind.values()) == REQUESTS
    assert len(outcome.samples) >= LEAST_SAMPLES
    assert {"/score", "V2 JSON", "NDJSON of 3", "gRPC infer", "a head that never ends"} <= outcome.by_kind.keys()
    assert outcome.greed.refused > 0
    assert [path.name for path in write(outcome, tmp_path / "soak") if path.stat().st_size] == ["soak.json", "rss.png"]


def test_planted_defects_are_found(database_url: str) -> None:
    """A leak, a wrong status, and a line of the log without its request."""
    planted = (sys.executable, str(Path(__file__).with_name("planted_predictor.py")))
    found = failures(run(REQUESTS, database_url, command=planted, strangers=STRANGERS))
    assert any(failure.startswith("memory grows") for failure in found)
    assert any("GET /healthz: 202 instead of 200" in failure for failure in found)
    assert any("a line without a request id" in failure for failure in found)


def test_a_predictor_that_dies_fails_the_run(database_url: str) -> None:
    """The run ends early, and says so."""
    planted = (sys.executable, str(Path(__file__).with_name("planted_predictor.py")), "dies")
    found = failures(run(REQUESTS, database_url, command=planted, strangers=STRANGERS))
    assert any("requests were answered" in failure for failure in found)
    assert "the server ended with status -9" in found


def test_its_command_line_says_what_it_takes() -> None:
    """Help costs no server."""
    said = subprocess.run([sys.executable, "-m", "soak", "--help"], capture_output=True, text=True, check=True).stdout
    assert "--requests N" in said
    assert "SOAK_REQUESTS" in said
