"""A server with a planted fault, as the fuzzers see the real one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fuzz.predictor_process import PredictorProcess

Plant = Callable[[str], PredictorProcess]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    """Start a server with the fault of a name."""
    started: list[PredictorProcess] = []

    def start(fault: str) -> PredictorProcess:
        command = (sys.executable, "-m", "tests.fuzz.planted_server", fault)
        server = PredictorProcess({}, tmp_path / "log", command=command)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()
