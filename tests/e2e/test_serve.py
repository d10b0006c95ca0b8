"""`telltale serve` as the person who starts and stops it sees it."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from benchmarks.server import Server, free_port
from tests.e2e.test_main_job import eventually, records

pytestmark = pytest.mark.e2e


def telltale(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "standalone.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_signals_to_the_group_stop_it_in_order_and_leave_nothing_behind(
    own_server: Server, number: signal.Signals
) -> None:
    own_server.start()
    postgres = own_server.postgres_pid()
    assert postgres is not None
    own_server.signal_group(number)
    time.sleep(0.3)  # the second signal comes while the first is being obeyed, which is the case to test
    own_server.signal_group(number)
    assert own_server.wait(20) == 0
    assert "Traceback" not in own_server.output.read_text()
    assert not _alive(postgres)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", own_server.port)) != 0
    own_server.start()
    assert own_server.stop() == 0


def test_what_was_trained_is_served_after_a_restart(own_server: Server) -> None:
    own_server.start()
    ingested = httpx.post(f"{own_server.url}/ingest", json={"records": records(30)}, timeout=60).json()
    own_server.kill()
    own_server.start()
    score = httpx.post(f"{own_server.url}/score", json=records(1)[0])
    assert score.json()["model_version"] == ingested["model_version"]
    own_server.stop()


def test_postgresql_gone_is_a_503_for_ingest_and_nothing_for_score_and_it_comes_back(own_server: Server) -> None:
    own_server.start()
    assert httpx.post(f"{own_server.url}/ingest", json={"records": records(30)}, timeout=60).status_code == 201
    postgres, supervisor = own_server.postgres_pid(), own_server.process
    assert postgres is not None
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGSTOP)  # or it would start the database again at once
    try:
        os.kill(postgres, signal.SIGKILL)
        refused = httpx.post(f"{own_server.url}/ingest", json={"records": records(30)}, timeout=60)
        score = httpx.post(f"{own_server.url}/score", json=records(1)[0])
        ready = httpx.get(f"{own_server.url}/health/ready")
    finally:
        os.kill(supervisor.pid, signal.SIGCONT)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert (score.status_code, ready.status_code) == (200, 200)

    def ingests() -> bool:
        return httpx.post(f"{own_server.url}/ingest", json={"records": records(30)}, timeout=60).is_success

    assert eventually(ingests, within=60)
    assert own_server.stop() == 0


def test_a_port_that_is_taken_is_told_with_what_to_do(data_folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = telltale("serve", "--data", str(data_folder), "--port", str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_another_instance_holds_is_told_with_its_address(server: Server) -> None:
    done = telltale("serve", "--data", str(server.data), "--port", str(free_port()))
    assert done.returncode == 1
    assert server.url in done.stderr
    assert "--data" in done.stderr


def test_an_address_that_others_reach_needs_words(data_folder: Path) -> None:
    done = telltale("serve", "--data", str(data_folder), "--host", "0.0.0.0", "--port", str(free_port()))
    assert done.returncode == 1
    assert "TELLTALE_ALLOW_ANONYMOUS=true" in done.stderr


def test_with_a_secret_it_may_be_reached_and_the_first_start_and_the_commands_have_tokens(own_server: Server) -> None:
    own_server.environment = {"TELLTALE_AUTH_SECRET": secrets.token_urlsafe(32)}
    own_server.options = ("--host", "0.0.0.0")
    own_server.start()
    assert eventually(lambda: "try it" in own_server.output.read_text(), within=90)
    token = subprocess.run(
        [sys.executable, "-m", "standalone.cli", "token", "--scope", "models:read"],
        env=os.environ | dict(own_server.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()
    models = f"{own_server.url}/models"
    assert httpx.get(models).status_code == 401
    bearer = {"Authorization": f"Bearer {token}"}
    assert httpx.get(models, headers=bearer).json()["models"][0]["model"] == "sample-fleet"
    assert httpx.post(f"{own_server.url}/score", json=records(1)[0], headers=bearer).status_code == 403
    assert own_server.stop() == 0


def test_a_made_secret_and_the_platforms_port_need_nothing_else_and_outlive_a_restart(own_server: Server) -> None:
    """As the container image starts it: any address, no settings of authentication."""
    own_server.environment = {"TELLTALE_GENERATE_AUTH_SECRET": "true", "TELLTALE_PUBLIC_URL": "https://fleet.example"}
    own_server.options = ("--host", "0.0.0.0", "--no-sample-fleet")
    own_server.start()
    assert eventually(lambda: "\ntoken  " in own_server.output.read_text(), within=30)
    said = own_server.output.read_text()
    assert "https://fleet.example/docs" in said
    token = said.partition("\ntoken  ")[2].split()[0]
    ingest = f"{own_server.url}/ingest"
    assert httpx.post(ingest, json={"records": records(30)}).status_code == 401
    bearer = {"Authorization": f"Bearer {token}"}
    assert httpx.post(ingest, json={"records": records(30)}, headers=bearer, timeout=60).status_code == 201
    assert own_server.stop() == 0
    own_server.start()
    assert httpx.post(f"{own_server.url}/score", json=records(1)[0], headers=bearer).status_code == 200
    another = telltale("token", "--data", str(own_server.data), "--scope", "models:read").stdout.strip()
    models = httpx.get(f"{own_server.url}/models", headers={"Authorization": f"Bearer {another}"})
    assert models.json()["models"][0]["model"] == "default"
    assert own_server.stop() == 0


def test_help_names_every_command_quickly() -> None:
    done = telltale("--help")
    assert done.returncode == 0
    for command in ("serve", "simulate", "score-csv", "token", "mlflow"):
        assert command in done.stdout
        assert telltale(command, "--help").returncode == 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_mlflow_ui_shows_the_running_store_and_ends_with_everything_it_started(server: Server) -> None:
    httpx.post(f"{server.url}/ingest", json={"model": "shown", "records": records(30)}, timeout=60).raise_for_status()
    port = free_port()
    ui = subprocess.Popen(
        [sys.executable, "-m", "standalone.cli", "mlflow", "--data", str(server.data), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert eventually(lambda: "shown" in _registered_models(port), within=60)
    finally:
        ui.terminate()
        assert ui.wait(20) == 0
    assert eventually(lambda: _registered_models(port) == "", within=10)


def _registered_models(port: int) -> str:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/2.0/mlflow/registered-models/search", timeout=10).text
    except httpx.TransportError:
        return ""


def test_a_first_start_that_is_cut_off_trains_the_sample_fleet_once(own_server: Server) -> None:
    own_server.options = ()
    own_server.start()
    assert eventually(lambda: "training the model sample-fleet" in own_server.output.read_text(), within=30)
    own_server.kill()
    own_server.start()
    assert eventually(lambda: "try it" in own_server.output.read_text(), within=90)
    versions = httpx.get(f"{own_server.url}/models/sample-fleet/versions").json()["versions"]
    assert len(versions) == 1
    own_server.stop()


def test_a_database_url_that_nobody_answers_is_told_without_a_traceback(data_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "standalone.cli", "serve", "--data", str(data_folder), "--port", str(free_port())],
        env=os.environ | {"DATABASE_URL": "postgresql://nobody:x@127.0.0.1:1/none"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
