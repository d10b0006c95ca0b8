"""The server as it is deployed: who may do what, what it shows to whom, how it starts and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from standalone.embedded_postgres import EmbeddedPostgres
from tests.mlflow_server import PASSWORDS, MlflowServer, family_of
from tests.seaweed import Seaweed

pytestmark = pytest.mark.integration

API = "/api/2.0/mlflow"
EXPERIMENTS = f"{API}/experiments/search?max_results=100"
MODELS = f"{API}/registered-models/search"
STRANGER = "stranger:Nobody-granted-me-1"


@pytest.fixture(scope="module")
def seen(mlflow_server: MlflowServer) -> Iterator[tuple[str, str]]:
    """An experiment's id and a run's, made by the trainer, with a version registered; and an account of nobody."""
    ask = mlflow_server.ask
    name, _, password = STRANGER.partition(":")
    assert ask(f"{API}/users/create", {"username": name, "password": password}, user="admin")[0] == 200
    _, made = ask(f"{API}/experiments/create", {"name": "who-may"}, user="trainer")
    _, run = ask(f"{API}/runs/create", {"experiment_id": made["experiment_id"]}, user="trainer")
    run_id = run["run"]["info"]["run_id"]
    assert ask(f"{API}/registered-models/create", {"name": "who-may"}, user="trainer")[0] == 200
    version = {"name": "who-may", "source": f"{run['run']['info']['artifact_uri']}/model", "run_id": run_id}
    assert ask(f"{API}/model-versions/create", version, user="trainer")[0] == 200
    yield str(made["experiment_id"]), run_id
    ask(f"{API}/users/delete", {"username": name}, user="admin")


def test_its_health_needs_no_credentials_and_everything_else_does(mlflow_server: MlflowServer) -> None:
    assert mlflow_server.ask("/health") == (200, "OK")
    for path in ("/", EXPERIMENTS, MODELS, f"{API}/users/current", "/api/2.0/mlflow-artifacts/artifacts?path=1"):
        assert mlflow_server.ask(path)[0] == 401, path
        assert mlflow_server.ask(path, user="trainer:a-wrong-password")[0] == 401, path


def test_an_account_without_a_grant_sees_nothing(mlflow_server: MlflowServer, seen: tuple[str, str]) -> None:
    ask, (experiment, run) = mlflow_server.ask, seen
    assert ask(EXPERIMENTS, user=STRANGER) == (200, {})
    assert ask(MODELS, user=STRANGER)[1].get("registered_models", []) == []
    for path in (
        f"{API}/experiments/get?experiment_id={experiment}",
        f"{API}/runs/get?run_id={run}",
        f"{API}/registered-models/get?name=who-may",
        f"{API}/model-versions/get?name=who-may&version=1",
        f"/api/2.0/mlflow-artifacts/artifacts?path={experiment}/{run}/artifacts",
        f"/get-artifact?run_id={run}&path=plots",
    ):
        assert ask(path, user=STRANGER)[0] == 403, path
    assert ask(f"{API}/users/create", {"username": "x", "password": "Make-me-one-now-1"}, user=STRANGER)[0] == 403


def test_the_registry_moves_aliases_of_what_the_trainer_made_and_no_more(
    mlflow_server: MlflowServer, seen: tuple[str, str]
) -> None:
    ask, (experiment, run) = mlflow_server.ask, seen
    alias = {"name": "who-may", "alias": "champion", "version": "1"}
    tag = {"name": "who-may", "version": "1", "key": "telltale.gate", "value": "passed"}
    assert ask(f"{API}/registered-models/alias", alias, user="registry")[0] == 200
    assert ask(f"{API}/model-versions/set-tag", tag, user="registry")[0] == 200
    assert ask(f"{API}/runs/get?run_id={run}", user="registry")[0] == 200
    assert ask(f"{API}/runs/create", {"experiment_id": experiment}, user="registry")[0] == 403
    assert ask(f"{API}/runs/delete", {"run_id": run}, user="registry")[0] == 403
    body = {"username": "x", "password": "Another-one-for-me-1"}
    assert ask(f"{API}/users/create", body, user="registry")[0] == 403
    assert ask(f"{API}/users/delete", {"username": "trainer"}, user="registry")[0] == 403


def test_people_get_a_role_and_with_it_every_model(mlflow_server: MlflowServer, seen: tuple[str, str]) -> None:
    ask, (experiment, _) = mlflow_server.ask, seen
    roles = {role["name"]: role["id"] for role in ask("/api/3.0/mlflow/roles/list", user="admin")[1]["roles"]}
    assert {"telltale-trainer", "telltale-registry", "telltale-editor", "telltale-reader"} <= set(roles)
    body = {"username": "reader", "password": "Only-looking-around-1"}
    assert ask(f"{API}/users/create", body, user="admin")[0] == 200
    given = {"username": "reader", "role_id": roles["telltale-reader"]}
    assert ask("/api/3.0/mlflow/roles/assign", given, user="admin")[0] == 200
    reader = "reader:Only-looking-around-1"
    assert "who-may" in {e["name"] for e in ask(EXPERIMENTS, user=reader)[1]["experiments"]}
    assert ask(f"{API}/model-versions/get?name=who-may&version=1", user=reader)[0] == 200
    note = {"experiment_id": experiment, "key": "mlflow.note.content", "value": "mine"}
    assert ask(f"{API}/experiments/set-experiment-tag", note, user=reader)[0] == 403


def test_only_its_own_names_and_its_own_pages_reach_it(mlflow_server: MlflowServer) -> None:
    ask = mlflow_server.ask
    search = {"max_results": 10}
    assert ask(EXPERIMENTS, user="admin", Host="mlflow.example.org")[0] == 200
    assert ask(EXPERIMENTS, user="admin", Host="rebound.example.com")[0] == 403
    assert ask("/health", Host="10.1.2.3:5000")[0] == 200  # as a kubelet asks
    path = f"{API}/experiments/search"
    assert ask(path, search, user="admin", Origin="https://mlflow.example.org")[0] == 200
    assert ask(path, search, user="admin", Origin="https://elsewhere.example.com")[0] == 403


def test_no_command_line_holds_a_secret(mlflow_server: MlflowServer) -> None:
    processes = family_of(mlflow_server.pid)
    lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in processes]
    assert len(processes) == 3
    secrets = [*PASSWORDS.values(), mlflow_server.environment()["DATABASE_URL"], "admin-secret", "postgresql"]
    assert not [(line, secret) for line in lines for secret in secrets if secret in line]


def test_the_check_tells_whether_it_is_well(mlflow_server: MlflowServer) -> None:
    command = [sys.executable, "-m", "standalone.mlflow_server", "--check"]
    well = subprocess.run(command, env=os.environ | {"MLFLOW_PORT": str(mlflow_server.port)}, check=False)
    gone = subprocess.run(command, env=os.environ | {"MLFLOW_PORT": "9"}, capture_output=True, check=False)
    assert (well.returncode, gone.returncode) == (0, 1)
    assert b"not well" in gone.stderr


def test_a_database_that_is_away_is_an_outage_and_no_wrong_password(
    mlflow_server: MlflowServer, postgres_server: EmbeddedPostgres
) -> None:
    database = "mlflow_server"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        try:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,))
            status, _ = mlflow_server.ask(EXPERIMENTS, user="trainer:Not-in-the-cache-1")
            assert status in (500, 503)
            assert mlflow_server.ask(EXPERIMENTS, user="trainer")[0] in (500, 503)
        finally:
            connection.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    assert mlflow_server.ask(EXPERIMENTS, user="trainer")[0] == 200


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"MLFLOW_AUTH_ADMIN_PASSWORD": "password1234"}, "MLFLOW_AUTH_ADMIN_PASSWORD: Value error, this password"),
        ({"DATABASE_URL": "sqlite:///mlflow.db"}, "DATABASE_URL must be postgresql://"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}, "look at DATABASE_URL"),
        ({"TELLTALE_SECRETS_DIR": "/no/such/folder"}, "is no folder"),
    ],
)
def test_what_keeps_it_from_starting_is_a_sentence(
    mlflow_server: MlflowServer, given: dict[str, str], said: str
) -> None:
    command = [sys.executable, "-m", "standalone.mlflow_server"]
    env = mlflow_server.environment() | given
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_replicas_start_at_once_on_an_empty_database_and_end_in_order(
    postgres_server: EmbeddedPostgres, s3_server: Seaweed, data_folder: Path
) -> None:
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow_replicas")
    url = f"{postgres_server.url.rpartition('/')[0]}/mlflow_replicas"
    bucket = s3_server.make_bucket("mlflow-replicas")
    replicas = []
    for number in range(2):
        folder = data_folder / str(number)
        folder.mkdir()
        replicas.append(MlflowServer(folder, url, f"s3://{bucket}", s3_server.environment()))
    try:
        for replica in replicas:
            replica.start(wait=False)
        for replica in replicas:
            replica.wait_until_healthy()
        one, other = replicas
        made = one.ask(f"{API}/experiments/create", {"name": "shared"}, user="trainer")
        assert made[0] == 200
        assert other.ask(f"{API}/experiments/get-by-name?experiment_name=shared", user="registry")[0] == 200
        processes = family_of(one.pid)
        assert one.stop() == 0
        assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]
        assert other.is_healthy()
    finally:
        for replica in replicas:
            replica.kill()
