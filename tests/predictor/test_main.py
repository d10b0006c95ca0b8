"""``python -m predictor`` as a supervisor starts and stops it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from predictor.settings import PredictorSettings
from tests.predictor.records import batch, record
from tests.predictor.simulated_trainer import SimulatedTrainer

pytestmark = pytest.mark.integration

Until = Callable[[Callable[[], bool]], None]


def environment(database_url: str, objects: Path, **changes: str) -> dict[str, str]:
    """Return a predictor's whole environment."""
    own = {
        str(field.validation_alias or f"TELLTALE_{name.upper()}")
        for name, field in PredictorSettings.model_fields.items()
    }
    base = {name: value for name, value in os.environ.items() if name not in own}
    return base | {"DATABASE_URL": database_url, "TELLTALE_OBJECT_STORE": str(objects)} | changes


@contextmanager
def started(env: dict[str, str], *arguments: str, pass_fds: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """Start the predictor; it is gone when the block ends."""
    command = [sys.executable, "-m", "predictor", *arguments]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, pass_fds=pass_fds)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that listens before the predictor does, as a supervisor's."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        yield bound


@contextmanager
def served_on(listening: socket.socket, env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """Start a predictor that inherits the socket."""
    descriptor = listening.fileno()
    with (
        started(env, "--fd", str(descriptor), pass_fds=(descriptor,)) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30) as client,
    ):
        yield process, client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_on_an_inherited_socket_and_ends_in_order(
    database_url: str, objects: Path, trainer: SimulatedTrainer, listening: socket.socket, until: Until, number: int
) -> None:
    """At a signal those who wait are answered 202, and the status is 0 although a second signal comes."""
    with served_on(listening, environment(database_url, objects)) as (process, client), ThreadPoolExecutor(1) as pool:
        assert client.post("/ingest", json=batch()).status_code == 201
        trainer.order = "hold"
        waiting = pool.submit(client.post, "/ingest", json=batch(2))
        until(lambda: len(trainer.queued()) == 1)
        begun = time.monotonic()
        process.send_signal(number)
        assert waiting.result().status_code == 202
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 0
        assert time.monotonic() - begun < 10
    assert "Traceback" not in errors
    assert all(json.loads(line)["level"] in ("info", "warning") for line in errors.splitlines())


def test_a_second_start_serves_what_the_first_did(
    database_url: str, objects: Path, trainer: SimulatedTrainer, listening: socket.socket
) -> None:
    """Killed without a chance to tidy up, it comes back with the same default."""
    env = environment(database_url, objects)
    with served_on(listening, env) as (process, client):
        version = client.post("/ingest", json=batch()).json()["model_version"]
        process.kill()
        process.wait()
    assert trainer.count() == 1
    with served_on(listening, env) as (_, client):
        assert client.post("/score", json=record()).json()["model_version"] == version


def test_it_binds_its_own_port_and_says_where(database_url: str, objects: Path) -> None:
    """Port 0 takes any free one."""
    with started(environment(database_url, objects, TELLTALE_PORT="0")) as process:
        assert process.stderr is not None
        message = ""
        while "listening on http://" not in message:
            assert select.select([process.stderr], [], [], 20)[0]
            message = str(json.loads(process.stderr.readline())["message"])
        assert httpx.get(f"{message.removeprefix('listening on ')}/healthz").status_code == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"TELLTALE_HOST": "0.0.0.0"}, "TELLTALE_ALLOW_ANONYMOUS=true"),
        ({"TELLTALE_PORT": "many"}, "TELLTALE_PORT: Input should be a valid integer"),
        ({"TELLTALE_OBJECT_STORE": "/dev/null/x"}, "/dev/null/x could not be read or written"),
    ],
)
def test_settings_that_do_not_work_end_it_with_a_sentence(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    """Status 2, no traceback."""
    with started(environment("postgresql://nobody@127.0.0.1:1/x", tmp_path, **changes)) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert words in errors
    assert "Traceback" not in errors


def test_a_taken_port_ends_it_with_a_sentence(tmp_path: Path, listening: socket.socket) -> None:
    """It says which port, and what to do."""
    port = str(listening.getsockname()[1])
    env = environment("postgresql://nobody@127.0.0.1:1/x", tmp_path, TELLTALE_PORT=port)
    with started(env) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in errors
    assert "TELLTALE_PORT" in errors


def test_an_inherited_socket_that_is_open_to_all_needs_words(tmp_path: Path) -> None:
    """The socket's address counts, not the settings'."""
    env = environment("postgresql://nobody@127.0.0.1:1/x", tmp_path)
    with socket.socket() as exposed:
        exposed.bind(("0.0.0.0", 0))  # bound and never listened on: nothing is exposed by this test
        descriptor = exposed.fileno()
        with started(env, "--fd", str(descriptor), pass_fds=(descriptor,)) as process:
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "TELLTALE_ALLOW_ANONYMOUS=true" in errors


def test_it_loads_none_of_the_trainers_libraries() -> None:
    """Each would cost memory and start-up time, and the image does not have them."""
    code = "import sys, predictor.run; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["sklearn", "mlflow", "joblib", "pandas", "matplotlib", "alembic", "sqlalchemy", "scipy"]
    out = subprocess.run([sys.executable, "-c", code, *heavy], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"
