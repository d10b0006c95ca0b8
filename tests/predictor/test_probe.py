"""The health check of a container."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from predictor.probe import probe
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from tests.predictor.forests import publish, stump_forest
from tests.predictor.running import running

VERSION = "20240115100000"


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1", "localhost"])
def test_a_ready_server_has_no_complaint(tmp_path: Path, host: str) -> None:
    """Whichever address it listens on, it is asked by one that leads to it."""
    publish(ModelStore(LocalObjectStore(tmp_path)), "default", VERSION, stump_forest(("a",)))
    with running(None, tmp_path, model="default", model_version=VERSION) as server:
        while server.client.get("/health/ready").status_code != 200:
            pass
        assert probe({"TELLTALE_HOST": host, "TELLTALE_PORT": str(server.port)}) is None


def test_a_server_that_waits_says_for_what(tmp_path: Path) -> None:
    with running(None, tmp_path, model="default", model_version=VERSION) as server:
        said = probe({"TELLTALE_PORT": str(server.port)})
    assert said is not None
    assert '"ready":false' in said


def test_where_nothing_listens_it_ends_with_1_and_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "predictor.probe"],
        env={"TELLTALE_PORT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("no answer: ")


def test_it_imports_nothing_that_takes_long() -> None:
    """It runs beside the server every few seconds."""
    program = "import sys, predictor.probe; print({'pydantic', 'numpy', 'asyncio', 'logging'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
