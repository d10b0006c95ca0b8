"""The registry's side of MLflow: over a database, and over the real server with the registry's own account."""

from __future__ import annotations

import socket
import time
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

with warnings.catch_warnings():
    # Importing MLflow warns of its own type hints and of pydantic's and protobuf's older ways.
    warnings.simplefilter("ignore")
    from mlflow import MlflowClient

from contract.names import TAG_DIGEST, TAG_GATE, TAG_VERSION
from registry.errors import MlflowForbidden, MlflowUnavailable, NotRegistered
from registry.mlflow_environment import CLIENT_ENVIRONMENT
from registry.mlflow_registry import MlflowRegistry
from tests.mlflow_server import MlflowServer

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:.*``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
]


@pytest.fixture(params=["database", "server"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """MLflow, with two versions of the model ``fleet`` that the trainer registered; we have the registry's account."""
    for name, value in CLIENT_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    if request.param == "database":
        uri = f"sqlite:///{tmp_path}/mlflow.db"
        register(uri)
        yield uri
        return
    server: MlflowServer = request.getfixturevalue("mlflow_server")
    become(monkeypatch, server, "trainer")
    register(server.url)
    become(monkeypatch, server, "registry")
    yield server.url
    become(monkeypatch, server, "trainer")
    MlflowClient(server.url, server.url).delete_registered_model("fleet")


def become(monkeypatch: pytest.MonkeyPatch, server: MlflowServer, user: str) -> None:
    for name, value in server.client_environment(user).items():
        monkeypatch.setenv(name, value)


def register(uri: str) -> None:
    client = MlflowClient(uri, uri)
    client.create_registered_model("fleet")
    experiment = client.create_experiment(f"fleet-{time.monotonic_ns()}")
    run = client.create_run(experiment).info
    for version in ("20260101000000", "20260102000000"):
        tags = {TAG_VERSION: version, TAG_DIGEST: f"sha256:{version}"}
        client.create_model_version("fleet", f"{run.artifact_uri}/model", run.run_id, tags=tags)


def test_versions_are_found_by_number_and_by_id(uri: str) -> None:
    registry = MlflowRegistry(uri)
    found = registry.by_id("fleet", "20260102000000")
    assert found == registry.by_number("fleet", "2")
    assert found is not None
    assert (found.number, found.digest) == ("2", "sha256:20260102000000")
    assert registry.by_id("fleet", "20260103000000") is None
    for model, number in (("fleet", "9"), ("no-such-fleet", "1")):
        with pytest.raises(NotRegistered):
            registry.by_number(model, number)


def test_the_champion_is_who_was_made_it(uri: str) -> None:
    registry = MlflowRegistry(uri)
    assert "fleet" not in registry.champions()
    registry.make_champion("fleet", "1")
    registry.make_champion("fleet", "2")
    registry.tag_gate("fleet", "2", passed=True, message="as good as the one before")
    assert registry.champions()["fleet"] == "2"
    assert MlflowClient(uri, uri).get_model_version("fleet", "2").tags[TAG_GATE] == "passed"


def test_a_wrong_account_is_told_apart_from_an_outage(
    mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, mlflow_server, "registry")
    registry = MlflowRegistry(mlflow_server.url)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-the-password")
    with pytest.raises(MlflowForbidden, match="MLFLOW_TRACKING_PASSWORD"):
        registry.champions()
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    with pytest.raises(MlflowForbidden, match="MLFLOW_TRACKING_USERNAME"):
        registry.champions()


def test_a_server_that_is_away_or_silent_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CLIENT_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        _assert_given_up(port)
    _assert_given_up(port)


def _assert_given_up(port: int) -> None:
    began = time.monotonic()
    with pytest.raises(MlflowUnavailable) as caught:
        MlflowRegistry(f"http://127.0.0.1:{port}").champions()
    assert not isinstance(caught.value, MlflowForbidden)
    assert time.monotonic() - began < 3


class Closing(BaseHTTPRequestHandler):
    """Answers the first request of a connection, and closes it at the second."""

    protocol_version = "HTTP/1.1"
    first = True

    def do_GET(self) -> None:
        self.close_connection = not self.first
        if self.first:
            self.first = False
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_connection_that_the_server_closes_when_it_is_used_again_is_no_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in CLIENT_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with ThreadingHTTPServer(("127.0.0.1", 0), Closing) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            registry = MlflowRegistry(f"http://127.0.0.1:{server.server_port}")
            assert [registry.aliases() for _ in range(5)] == [{}] * 5
        finally:
            server.shutdown()
            serving.join()
