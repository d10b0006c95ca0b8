"""The trainer's image as a container of its own: the whole main job, with nothing else beside it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.images.containers import HARDENED, Container, Docker

HTTP = 8000
LARGEST_BYTES = 1_400_000_000
READY_SECONDS = 60
# A training waits for MLflow's tables, which the first start makes.
FIRST_TRAINING_SECONDS = 180
WRITABLE = (*HARDENED, "--tmpfs=/tmp")
ALONE = {"USE_LOCAL_STORAGE": "true"}
LIST_PACKAGES = (
    "import json; from importlib.metadata import distributions as d;"
    "print(json.dumps({x.metadata['Name']: x.version for x in d()}))"
)
# What MLflow knows of a model: its versions with their aliases, and the states of its runs.
ASK_MLFLOW = """
import json, sys
from pathlib import Path
from mlflow import MlflowClient
from standalone.data_folder import read_instance
from store.migrate import sqlalchemy_url
uri = sqlalchemy_url(read_instance(Path("/data")).database_url)
client = MlflowClient(tracking_uri=uri, registry_uri=uri)
model = client.get_registered_model(sys.argv[1])
versions = client.search_model_versions(f"name = '{sys.argv[1]}'")
print(json.dumps({
    "versions": {v.tags["telltale.version"]: client.get_run(v.run_id).info.status for v in versions},
    "champion": client.get_model_version_by_alias(sys.argv[1], "champion").tags["telltale.version"],
}))
"""


@dataclass
class Started:
    """A container that is ready, and the seconds from `docker run` to there."""

    container: Container
    seconds: float

    def told(self, word: str) -> list[str]:
        """Return what follows ``word`` at the start of a line of its logs, for each such line."""
        found = re.findall(rf"^{re.escape(word)} +(.*)$", self.container.logs(), re.MULTILINE)
        return [str(line) for line in found]


@contextmanager
def volume(docker: Docker) -> Iterator[str]:
    """A named volume, which Docker makes as the image has the folder."""
    name = docker.output("volume", "create")
    try:
        yield name
    finally:
        docker.run("volume", "rm", "--force", name)


@contextmanager
def telltale(docker: Docker, image: str, data: str, *options: str, **settings: str) -> Iterator[Started]:
    """Run the image's default command on a volume until it is ready."""
    began = time.monotonic()
    arguments = (*WRITABLE, f"--volume={data}:/data", *options)
    port = int(settings.get("PORT", HTTP))
    with docker.container(image, *arguments, environment=ALONE | settings, ports=(port,)) as container:
        with container.http(port) as client:
            container.wait_until_ready(client, within=READY_SECONDS)
        yield Started(container, time.monotonic() - began)


@pytest.fixture(scope="module")
def running(docker: Docker, trainer_image: str) -> Iterator[Started]:
    """One that was started from nothing and has trained the sample fleet."""
    with volume(docker) as data, telltale(docker, trainer_image, data) as started:
        invited = lambda: bool(started.told("try it"))  # noqa: E731
        started.container.wait_until(invited, "trained", within=FIRST_TRAINING_SECONDS)
        yield started


@contextmanager
def client_of(started: Started, port: int = HTTP) -> Iterator[httpx.Client]:
    """A client with the token that the start printed."""
    with started.container.http(port) as client:
        client.headers["Authorization"] = f"Bearer {started.told('token')[-1]}"
        client.timeout = httpx.Timeout(60)
        yield client


def records(n: int) -> list[dict[str, Any]]:
    return [
        {"vehicle_id": f"VH-{i}", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [i % 7, i % 11, i % 13]}
        for i in range(n)
    ]


def ask_mlflow(container: Container, model: str) -> Any:
    return json.loads(container.execute("python", "-c", ASK_MLFLOW, model).splitlines()[-1])


def test_from_nothing_it_is_ready_within_a_minute(running: Started) -> None:
    """The first start, on an empty volume: a database is made, the schema, MLflow's tables."""
    print(f"ready {running.seconds:.1f} s after docker run")  # noqa: T201 - shown by -s, for docs/images.md
    assert running.seconds < READY_SECONDS


def test_it_runs_as_nobody_with_no_capability_on_a_read_only_root(running: Started) -> None:
    container = running.container
    assert container.inspect("{{.Config.User}}") == "65532:65532"
    status = container.execute("cat", "/proc/1/status")
    assert re.search(r"^Uid:\s65532\s65532\s65532\s65532$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s0+$", status, re.MULTILINE)
    owners = container.execute("sh", "-c", "stat -c %u /proc/[0-9]*")
    assert set(owners.split()) == {"65532"}, "PostgreSQL too"
    with pytest.raises(AssertionError, match="Read-only file system"):
        container.execute("touch", "/opt/telltale/new")


def test_the_first_process_is_telltale_itself_so_that_signals_reach_it(running: Started) -> None:
    assert "telltale\0serve" in running.container.execute("cat", "/proc/1/cmdline")


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/healthz", "/v2/health/live", "/v2/health/ready"])
def test_each_health_route_answers_without_a_token(running: Started, path: str) -> None:
    with running.container.http(HTTP) as client:
        assert client.get(path).status_code == 200


def test_its_health_check_turns_healthy(running: Started) -> None:
    healthy = lambda: running.container.inspect("{{.State.Health.Status}}") == "healthy"  # noqa: E731
    running.container.wait_until(healthy, "healthy", within=45)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the logged request is one of curl: install it")
def test_the_logged_request_works_when_pasted_with_the_right_address(running: Started) -> None:
    request = running.told("try it")[-1].replace(f"127.0.0.1:{HTTP}", running.container.address(HTTP))
    answer = subprocess.run(["bash", "-c", request], capture_output=True, text=True, timeout=30, check=True).stdout
    assert json.loads(answer)["vehicle_id"] == "electric-car-012"
    assert isinstance(json.loads(answer)["is_anomaly"], bool)


def test_without_the_token_nobody_scores_or_trains(running: Started) -> None:
    with running.container.http(HTTP) as client:
        assert client.post("/score", json=records(1)[0]).status_code == 401
        assert client.post("/ingest", json={"records": records(30)}).status_code == 401


def test_another_token_comes_from_the_secret_that_it_keeps(running: Started) -> None:
    token = running.container.execute("telltale", "token", "--scope", "models:read")
    with running.container.http(HTTP) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        assert client.get("/models").json()["models"][0]["model"] == "sample-fleet"
        assert client.post("/score", json=records(1)[0]).status_code == 403
    assert running.container.execute("stat", "--format=%a", "/data/auth-secret") == "600"


def test_python_on_the_path_is_the_environments_and_it_scores_by_the_compiled_kernel(running: Started) -> None:
    assert running.container.execute("python", "-c", "import sys; print(sys.prefix)") == "/opt/telltale"
    program = "from scoring.kernel import kernel_name; print(kernel_name())"
    assert running.container.execute("python", "-c", program) != "numpy"


def test_nothing_is_compiled_again_when_it_starts(running: Started) -> None:
    program = (
        "import os, sys, trainer.composition, predictor.run, predictor.late_composition, standalone.controller_main;"
        "print([m.__name__ for m in sys.modules.values() if getattr(m, '__cached__', None)"
        " and not os.path.exists(m.__cached__)])"
    )
    assert running.container.execute("python", "-c", program) == "[]"


def test_the_bill_of_materials_names_what_is_installed_and_no_more(running: Started) -> None:
    container = running.container
    document = json.loads(container.execute("cat", "/opt/telltale/sbom.cdx.json"))
    assert (document["bomFormat"], document["metadata"]["component"]["name"]) == ("CycloneDX", "telltale-trainer")
    named: dict[str, dict[str, str]] = {"pypi": {}, "deb": {}, "generic": {}}
    for component in document["components"]:
        purl = component.get("purl", "pkg:pypi/telltale")
        named[purl.removeprefix("pkg:").partition("/")[0]][component["name"]] = component["version"]
    assert named["pypi"] == json.loads(container.execute("python", "-c", LIST_PACKAGES))
    listed = container.execute("dpkg-query", "--show", "--showformat=${Package}\t${Version}\n")
    assert named["deb"].pop("libnss-wrapper"), "of which one file alone is here"
    assert named["deb"] == dict(line.split("\t") for line in listed.splitlines())


def test_labels_say_what_it_is_and_of_what_revision(docker: Docker, trainer_image: str) -> None:
    labels = json.loads(docker.output("inspect", "--format={{json .Config.Labels}}", trainer_image))
    found = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert found["title"] == "telltale-trainer"
    assert found["version"] == "0.1.0"
    assert len(found["revision"].partition("-")[0]) == 40
    assert {"source", "licenses", "description", "base.name", "created"} <= set(found)


def test_it_is_no_larger_than_its_goal(docker: Docker, trainer_image: str) -> None:
    assert int(docker.output("inspect", "--format={{.Size}}", trainer_image)) <= LARGEST_BYTES


def test_the_whole_main_job_and_a_restart_that_keeps_all_of_it(docker: Docker, trainer_image: str) -> None:
    """Ingest, train, register, promote, score; SIGTERM; a new container on the same volume, by another port."""
    with volume(docker) as data:
        with telltale(docker, trainer_image, data, TELLTALE_SAMPLE_FLEET="false") as started:
            version = ingest_and_score(started)
            known = ask_mlflow(started.container, "default")
            assert known == {"versions": {version: "FINISHED"}, "champion": version}
            token = started.told("token")[-1]
            started.container.signal("TERM")
            assert started.container.exit_code(within=25) == 0
            assert "stopped; nothing that was acknowledged is lost" in started.container.logs()
        settings = {"TELLTALE_SAMPLE_FLEET": "false", "PORT": "10000"}
        with telltale(docker, trainer_image, data, **settings) as again, again.container.http(10000) as client:
            client.headers["Authorization"] = f"Bearer {token}"
            score = client.post("/score", json=records(1)[0])
            assert (score.status_code, score.json()["model_version"]) == (200, version), "the first start's token holds"
            assert ask_mlflow(again.container, "default") == known


def ingest_and_score(started: Started) -> str:
    """Train the model `default` and score by it; returns the version."""
    with client_of(started) as client:
        answer = client.post("/ingest", json={"records": records(200)})
        assert answer.status_code in {201, 202}, answer.text
        job = f"/ingest/{answer.json()['job']}"
        done = lambda: client.get(job).json()["state"] in {"done", "failed"}  # noqa: E731
        started.container.wait_until(done, "trained", within=FIRST_TRAINING_SECONDS)
        version = str(client.get(job).json()["model_version"])

        def is_served() -> bool:
            score = client.post("/score", json=records(1)[0])
            return score.is_success and score.json()["model_version"] == version

        started.container.wait_until(is_served, "served", within=30)
    return version


def test_a_secret_of_ones_own_is_taken_and_no_token_is_logged(docker: Docker, trainer_image: str) -> None:
    secret = "one that somebody chose, 32 or more"
    with volume(docker) as data:
        settings = {"TELLTALE_AUTH_SECRET": secret, "TELLTALE_SAMPLE_FLEET": "false"}
        with telltale(docker, trainer_image, data, **settings) as started, started.container.http(HTTP) as client:
            assert not started.told("token")
            assert "eyJ" not in started.container.logs()
            assert client.get("/models").status_code == 401
            client.headers["Authorization"] = f"Bearer {started.container.execute('telltale', 'token')}"
            assert client.get("/models").status_code == 200


def test_started_as_root_it_takes_the_volume_over_and_gives_root_up(
    docker: Docker, trainer_image: str, tmp_path: Path
) -> None:
    """As platforms do it: the volume is root's, and the container is started as root."""
    folder = tmp_path / "volume"
    folder.mkdir(mode=0o755)
    options = ("--user=0:0", "--cap-add=CHOWN", "--cap-add=SETUID", "--cap-add=SETGID")
    settings = {"TELLTALE_SAMPLE_FLEET": "false"}
    with telltale(docker, trainer_image, str(folder), *options, **settings) as started:
        owners = started.container.execute("sh", "-c", "stat -c %u /proc/1 /data")
        assert owners.split() == ["65532", "65532"]
        assert re.search(r"^CapEff:\s0+$", started.container.execute("cat", "/proc/1/status"), re.MULTILINE)
        started.container.execute("sh", "-c", "rm -rf /data/* 2>/dev/null; true")


def test_it_runs_as_any_number_that_a_cluster_gives_it(docker: Docker, trainer_image: str) -> None:
    """A number without a name, in group 0, which may write the folder."""
    with volume(docker) as data:
        settings = {"TELLTALE_SAMPLE_FLEET": "false"}
        with telltale(docker, trainer_image, data, "--user=1000660000:0", **settings) as started:
            assert started.container.execute("stat", "--format=%u", "/data/postgres").strip() == "1000660000"


@pytest.mark.parametrize(
    ("options", "settings", "reason"),
    [
        (("--user=4711:4711",), {}, "`--user 65532:0`"),
        ((), {"USE_LOCAL_STORAGE": "false"}, "USE_LOCAL_STORAGE=false needs another storage"),
        ((), {"TELLTALE_GENERATE_AUTH_SECRET": "false"}, "TELLTALE_ALLOW_ANONYMOUS=true"),
    ],
    ids=["owner", "storage", "authentication"],
)
def test_what_keeps_it_from_starting_is_one_sentence(
    docker: Docker, trainer_image: str, options: tuple[str, ...], settings: dict[str, str], reason: str
) -> None:
    with volume(docker) as data:
        arguments = (*WRITABLE, f"--volume={data}:/data", *options)
        with docker.container(trainer_image, *arguments, environment=settings) as container:
            assert container.exit_code(within=30) == 1
            said = container.logs()
    assert reason in said
    assert said.startswith("Error: ")
    assert len(said.splitlines()) == 1


def test_a_root_with_nothing_to_write_on_is_told_so(docker: Docker, trainer_image: str) -> None:
    with docker.container(trainer_image, *HARDENED) as container:
        assert container.exit_code(within=30) == 1
        assert "mount a tmpfs at /tmp" in container.logs()
    with docker.container(trainer_image, *WRITABLE) as container:
        assert container.exit_code(within=30) == 1
        assert "/data is read-only: mount a volume there" in container.logs()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("python", "-m", "registry", "--help"), "TELLTALE_REQUIRE_ROUTE_ACCEPTANCE"),
        (("kubectl-telltale", "--help"), "Usage: kubectl telltale"),
    ],
    ids=["controller", "plugin"],
)
def test_the_registrys_controller_and_kubectl_plugin_are_in_it(
    docker: Docker, trainer_image: str, command: tuple[str, ...], says: str
) -> None:
    with docker.container(trainer_image, *HARDENED, command=command) as container:
        assert container.exit_code(within=30) == 0
        assert says in container.logs()
