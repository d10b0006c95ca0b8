"""compose.yaml: the production shape, every part a container, on real PostgreSQL, S3 and MLflow."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.server import free_port
from tests.images.containers import Docker

ROOT = Path(__file__).parents[2]
SECRETS = ROOT / "images" / "compose-secrets"
START_SECONDS = 300
OURS = ("mlflow", "trainer", "controller", "predictor")


@dataclass
class Deployment:
    """The services of compose.yaml, under a name of their own.

    Args:
        command: the compose client with its options.
        environment: what it is run with.
        http, mlflow: ports on 127.0.0.1.
        secrets: what .env holds.

    """

    command: list[str]
    environment: dict[str, str]
    http: int
    mlflow: int
    secrets: dict[str, str]

    def run(self, *arguments: str, seconds: float = START_SECONDS) -> str:
        """Run a command of compose; its failure fails the test with all that the services said."""
        done = subprocess.run(
            [*self.command, *arguments],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"compose {' '.join(arguments)}: {done.stderr}\n{self.logs()}"
        return done.stdout.strip()

    def logs(self) -> str:
        """Return the end of what every service said."""
        command = [*self.command, "logs", "--no-color", "--tail=30"]
        done = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    def wait_until(self, holds: Callable[[], bool], what: str, *, within: float) -> None:
        """Wait until ``holds``; an address that does not answer yet is no failure."""
        deadline = time.monotonic() + within
        while True:
            try:
                if holds():
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, f"not {what} within {within} s:\n{self.logs()}"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """A compose client: the variable COMPOSE, `docker compose`, or `docker-compose`."""
    candidates = [os.environ.get("COMPOSE", ""), "docker compose", "docker-compose"]
    for words in (candidate.split() for candidate in candidates if candidate):
        if shutil.which(words[0]) is not None:
            asked = subprocess.run([*words, "version"], capture_output=True, timeout=60, check=False)
            if asked.returncode == 0:
                return words
    pytest.skip("no compose: install Docker's compose plugin or docker-compose, or name one by COMPOSE")


@pytest.fixture(scope="module")
def deployment(
    docker: Docker,
    compose: list[str],
    trainer_image: str,
    predictor_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    """All of it, started from nothing as the guide says."""
    env_file = tmp_path_factory.mktemp("compose") / "env"
    subprocess.run([SECRETS, env_file], check=True, timeout=60)
    secrets = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    http, grpc, mlflow = free_port(), free_port(), free_port()
    environment = {
        "TELLTALE_TRAINER_IMAGE": trainer_image,
        "TELLTALE_PREDICTOR_IMAGE": predictor_image,
        "POSTGRES_IMAGE": os.environ.get("POSTGRES_IMAGE", "telltale-lab/postgres:15"),
        "S3_IMAGE": os.environ.get("S3_IMAGE", "telltale-lab/seaweedfs:4"),
        "HTTP_PORT": str(http),
        "GRPC_PORT": str(grpc),
        "MLFLOW_PORT": str(mlflow),
    }
    for image in (environment["POSTGRES_IMAGE"], environment["S3_IMAGE"]):
        if docker.run("image", "inspect", image).returncode != 0:
            pytest.skip(f"no image {image}: pull one and name it by POSTGRES_IMAGE and S3_IMAGE")
    project = f"telltale-test-{os.getpid()}"
    command = [*compose, "--file", str(ROOT / "compose.yaml"), "--env-file", str(env_file), "--project-name", project]
    deployment = Deployment(command, environment, http, mlflow, secrets)
    try:
        deployment.run("up", "--detach")
        yield deployment
    finally:
        subprocess.run(
            [*command, "down", "--volumes", "--timeout", "30"],
            env=os.environ | environment,
            capture_output=True,
            timeout=300,
            check=True,
        )


def records(n: int) -> list[dict[str, Any]]:
    return [
        {"vehicle_id": f"VH-{i}", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [i % 7, i % 11, i % 13]}
        for i in range(n)
    ]


def test_a_batch_becomes_a_version_in_mlflow_and_the_predictor_scores_by_it(deployment: Deployment) -> None:
    """From the guide's commands to a score: every part does its own, none shares a folder with another."""
    with httpx.Client(base_url=f"http://127.0.0.1:{deployment.http}", timeout=60) as client:
        ready = lambda: client.get("/health/ready").status_code == 200  # noqa: E731
        deployment.wait_until(ready, "ready", within=START_SECONDS)
        assert client.post("/score", json=records(1)[0]).status_code == 401
        token = deployment.run("run", "--rm", "-T", "--no-deps", "telltale", "token")
        client.headers["Authorization"] = f"Bearer {token}"
        taken = client.post("/ingest", json={"model": "fleet", "records": records(300)})
        assert taken.status_code in {201, 202}, taken.text
        job = f"/ingest/{taken.json()['job']}"
        deployment.wait_until(lambda: client.get(job).json()["state"] == "done", "trained", within=120)
        version = client.get(job).json()["model_version"]

        def is_served() -> bool:
            score = client.post("/score", json=records(1)[0] | {"model": "fleet"})
            return score.is_success and score.json()["model_version"] == version

        deployment.wait_until(is_served, "served", within=30)
        assert mlflow_of(deployment, version) == ("FINISHED", {"candidate", "champion"}, {"model", "plots"})

        deployment.run("stop", "trainer", "controller", "mlflow", "postgres", "s3")
        assert is_served(), "a predictor needs none of them to score"


def mlflow_of(deployment: Deployment, version: str) -> tuple[str, set[str], set[str]]:
    """Return what MLflow's server tells of a version: its run's state, its aliases, the folders of its artefacts."""
    auth = ("admin", deployment.secrets["MLFLOW_ADMIN_PASSWORD"])
    base = f"http://127.0.0.1:{deployment.mlflow}"
    with httpx.Client(base_url=base, timeout=20) as stranger:
        assert stranger.get("/api/2.0/mlflow/registered-models/get", params={"name": "fleet"}).status_code == 401
    with httpx.Client(base_url=base, timeout=20, auth=auth) as client:
        model = client.get("/api/2.0/mlflow/registered-models/get", params={"name": "fleet"}).json()["registered_model"]
        known = model["latest_versions"][0]
        assert {"key": "telltale.version", "value": version} in known["tags"]
        run = client.get("/api/2.0/mlflow/runs/get", params={"run_id": known["run_id"]}).json()["run"]
        files = client.get("/api/2.0/mlflow/artifacts/list", params={"run_id": known["run_id"]}).json()["files"]
    aliases = {alias["alias"] for alias in model["aliases"] if alias["version"] == known["version"]}
    return run["info"]["status"], aliases, {file["path"] for file in files if file["is_dir"]}


@pytest.mark.parametrize("service", OURS)
def test_our_containers_are_hardened(docker: Docker, deployment: Deployment, service: str) -> None:
    identity = deployment.run("ps", "--all", "--quiet", service, seconds=60).splitlines()[0]
    settings = json.loads(docker.output("inspect", "--format={{json .HostConfig}}", identity))
    assert settings["ReadonlyRootfs"] is True
    assert settings["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in settings["SecurityOpt"]
    assert docker.output("inspect", "--format={{.Config.User}}", identity) == "65532:65532"
    published = [port for ports in (settings["PortBindings"] or {}).values() for port in ports]
    assert {port["HostIp"] for port in published} <= {"127.0.0.1"}


def test_what_prepares_the_stores_ended_well_and_alone_had_the_administrators_password(
    docker: Docker, deployment: Deployment
) -> None:
    identity = deployment.run("ps", "--all", "--quiet", "prepare", seconds=60).splitlines()[0]
    assert docker.output("inspect", "--format={{.State.ExitCode}}", identity) == "0"
    password = deployment.secrets["POSTGRES_PASSWORD"]
    for service in OURS:
        other = deployment.run("ps", "--all", "--quiet", service, seconds=60).splitlines()[0]
        assert password not in docker.output("inspect", "--format={{json .Config.Env}}", other)
    assert password in docker.output("inspect", "--format={{json .Config.Env}}", identity)


def test_secrets_are_random_for_their_owner_alone_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("MINE=1")
    subprocess.run([SECRETS, file], check=True, timeout=60)
    first = file.read_text()
    made = dict(line.split("=", 1) for line in first.splitlines())
    assert made.pop("MINE") == "1"
    assert len(set(made.values())) == len(made) == 8
    assert min(map(len, made.values())) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    subprocess.run([SECRETS, file], check=True, timeout=60)
    assert file.read_text() == first
