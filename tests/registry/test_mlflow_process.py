"""The cluster tests' MLflow server, when it does not start: they fail at once, in its words, and leave nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.registry.cluster.mlflow_process import MlflowProcess


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that is started in place of MLflow; a test writes it."""
    path = tmp_path / "mlflow"
    monkeypatch.setenv("TELLTALE_TEST_MLFLOW", str(path))
    return path


def write(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_server_that_ends_is_told_of_at_once_with_its_log(program: Path, tmp_path: Path) -> None:
    write(program, "echo the database is damaged; exit 3")
    began = time.monotonic()
    with pytest.raises(AssertionError, match=r"MLflow ended: .*the database is damaged"):
        MlflowProcess(tmp_path).start()
    assert time.monotonic() - began < 10


def test_a_server_that_does_not_answer_in_time_is_killed_with_all_that_it_started(
    program: Path, tmp_path: Path
) -> None:
    write(program, f"sleep 300 & echo $! > {tmp_path}/child; echo waiting; wait")
    with pytest.raises(AssertionError, match=r"did not answer within 1 s: .*waiting"):
        MlflowProcess(tmp_path).start(start_seconds=1)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while is_alive(child):
        assert time.monotonic() < deadline


def is_alive(process: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for yet does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
