"""The floor does what the predictor's comparison needs, and nothing more."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks.cores import choose_cores, cpu_seconds, measured_cpu, on_core, rss_mb
from benchmarks.load import Target, http_request, run_load
from benchmarks.processes import NotStarted, running, wait_until_answers
from benchmarks.server import free_port

RECORD = b'{"vehicle_id":"VH-1","timestamp":"2024-01-15T10:00:00Z","feature_vector":[0.5,-1.25]}'
ANSWER = '{"constant": true}'


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Yield the floor's port and process id."""
    port, log = free_port(), tmp_path_factory.mktemp("floor") / "bare.log"
    command = [sys.executable, "-m", "benchmarks.bare", str(port), ANSWER]
    with running(command, {}, core=choose_cores().server, log=log, port=port) as (server, process):
        wait_until_answers(process, port, http_request("/score", RECORD), log, within=30)
        yield port, server.pid


def test_it_answers_a_record_with_the_constant(floor: tuple[int, int]) -> None:
    answer = httpx.post(f"http://127.0.0.1:{floor[0]}/score", content=RECORD)
    assert (answer.status_code, answer.text) == (200, ANSWER)


def test_it_does_decode_the_record(floor: tuple[int, int]) -> None:
    answer = httpx.post(f"http://127.0.0.1:{floor[0]}/score", content=RECORD.replace(b"VH-1", b"\xff"))
    assert answer.status_code == 500


def test_its_processor_time_and_memory_can_be_read_while_it_is_loaded(floor: tuple[int, int]) -> None:
    port, pid = floor
    before = cpu_seconds(pid)
    with measured_cpu(pid) as busy:
        load = run_load(Target(port, http_request("/score", RECORD)), connections=16, seconds=0.5)
    assert load.requests > 100
    assert 0.05 < busy.share <= 1.2
    assert cpu_seconds(pid) > before
    assert 10 < rss_mb(pid) < 500


def test_a_server_runs_on_its_core_and_the_caller_stays_where_it_was(floor: tuple[int, int]) -> None:
    assert os.sched_getaffinity(floor[1]) == {choose_cores().server}
    before = os.sched_getaffinity(0)
    with on_core(choose_cores().load):
        assert os.sched_getaffinity(0) == {choose_cores().load}
    assert os.sched_getaffinity(0) == before


def test_a_server_that_ends_is_reported_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "import sys; sys.exit('out of luck')"]
    with (
        running(command, {}, core=choose_cores().server, log=log, port=1) as (_, process),
        pytest.raises(NotStarted, match="ended with 1: out of luck"),
    ):
        wait_until_answers(process, free_port(), b"GET / HTTP/1.1\r\n\r\n", log, within=30)


def test_a_server_is_stopped_with_its_children(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(["sh", "-c", "sleep 60 & echo $!; wait"], {}, core=choose_cores().server, log=log, port=1):
        _wait_for(lambda: log.read_text().endswith("\n"))
    child = int(log.read_text())
    _wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
