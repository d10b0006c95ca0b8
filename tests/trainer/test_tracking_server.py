"""The trainer against the real MLflow server, by HTTP and as its own account: what holds for a database holds here."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import joblib
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from scoring.reference import decision_function
from tests.mlflow_server import MlflowServer
from tests.seaweed import Seaweed
from tests.trainer.conftest import MLFLOW_WARNINGS, Bench, bench_for, random_batch
from tests.trainer.test_training import (  # noqa: F401 - collected here again, with the server's settings
    mortal,
    test_a_run_that_a_killed_attempt_left_is_gone_from_sight,
    test_an_attempt_that_was_overtaken_leaves_no_second_version,
    test_an_experiment_that_was_deleted_is_restored,
    test_one_record_becomes_a_version,
    test_the_candidate_never_moves_back_to_an_older_version,
)
from trainer.errors import TrackingForbidden, TrackingRefused, TrackingUnavailable
from trainer.settings import TrainerSettings
from trainer.tracking import Tracking

pytestmark = [pytest.mark.integration, *MLFLOW_WARNINGS]


@pytest.fixture
def account(mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what makes MLflow's client in this process work as one of the accounts."""

    def become(user: str) -> None:
        for name, value in mlflow_server.client_environment(user).items():
            monkeypatch.setenv(name, value)

    for name in [f"AWS_{word}" for word in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "ENDPOINT_URL_S3")]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    become("trainer")
    return become


@pytest.fixture
def settings(
    settings: TrainerSettings, mlflow_server: MlflowServer, account: Callable[[str], None]
) -> Iterator[TrainerSettings]:
    """A trainer's settings for the server, which forgets the model ``default`` afterwards."""
    yield settings.model_copy(update={"mlflow_tracking_uri": mlflow_server.url})
    account("admin")
    client = MlflowClient(mlflow_server.url, mlflow_server.url)
    experiment = client.get_experiment_by_name("default")
    if experiment is not None:
        client.rename_experiment(experiment.experiment_id, f"forgotten-{experiment.experiment_id}")
        client.delete_experiment(experiment.experiment_id)
    if client.search_registered_models("name = 'default'"):
        client.delete_registered_model("default")


def test_artefacts_are_the_servers_business(bench: Bench, s3_server: Seaweed) -> None:
    row = bench.accept(random_batch(60))
    bench.training.train(row.id)
    experiment = bench.client.get_experiment_by_name("default")
    assert experiment is not None
    assert experiment.artifact_location.startswith("mlflow-artifacts:/")
    (run,) = bench.runs()
    prefix = f"artifacts/{experiment.experiment_id}/{run.info.run_id}/artifacts/"
    listed = s3_server.client().list_objects_v2(Bucket="mlflow-server", Prefix=prefix)["Contents"]
    keys = {entry["Key"].removeprefix(prefix) for entry in listed}
    assert {"feature_baseline.json", "plots/score_histogram.png", "model/MLmodel", "model/data/model.joblib"} <= keys
    assert not bench.root.joinpath("mlflow").exists()


def test_the_pages_of_mlflow_have_words_for_people(bench: Bench) -> None:
    row = bench.accept(random_batch(60))
    bench.training.train(row.id)
    (run,) = bench.runs()
    assert run.data.tags["mlflow.user"] == "trainer"
    assert run.data.tags["mlflow.source.name"] == "telltale trainer"
    assert "20 trees on 60 records of 4 features, 2024-01-15 10:00 to 2024-01-15 10:59 UTC" in run.data.tags[NOTE]
    assert bench.candidate().description == run.data.tags[NOTE]
    assert "champion" in bench.client.get_registered_model("default").description
    experiment = bench.client.get_experiment_by_name("default")
    assert experiment is not None
    assert "holdout_flag_rate" in experiment.tags[NOTE]
    (dataset,) = run.inputs.dataset_inputs
    assert [tag.value for tag in dataset.tags] == ["training"]


NOTE = "mlflow.note.content"


def test_a_notebook_with_an_account_and_nothing_else_loads_the_candidate(bench: Bench, tmp_path: Path) -> None:
    data = random_batch(60)
    row = bench.accept(data)
    bench.training.train(row.id)
    mlflow.set_tracking_uri(bench.settings.mlflow_tracking_uri)
    try:
        loaded = mlflow.pyfunc.load_model("models:/default@candidate")
        folder = mlflow.artifacts.download_artifacts("models:/default@candidate", dst_path=str(tmp_path))
    finally:
        mlflow.set_tracking_uri(None)
    answer = loaded.predict(pd.DataFrame(data.X, columns=list(data.feature_names)))
    expected = decision_function(bench.models.load(bench.models.manifest("default", row.version)), data.X)
    assert np.array_equal(answer["anomaly_score"], expected)
    estimator = joblib.load(next(Path(folder).rglob("*.joblib")))
    assert np.array_equal(estimator.decision_function(data.X), expected)


def test_an_experiment_of_another_machine_is_refused(bench: Bench) -> None:
    bench.client.create_experiment("default", "file:///somewhere/else")
    row = bench.accept(random_batch(5))
    with pytest.raises(TrackingRefused, match="/somewhere/else"):
        bench.training.train(row.id)


def test_a_wrong_password_names_the_variables(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-the-password")
    with pytest.raises(TrackingForbidden, match="MLFLOW_TRACKING_PASSWORD"):
        bench.training.tracking.prepare()
    with pytest.raises(TrackingForbidden, match="MLFLOW_TRACKING_PASSWORD"):
        bench.training.tracking.forget_attempts("default", "batch")


def test_an_account_that_may_not_names_the_role(bench: Bench, account: Callable[[str], None]) -> None:
    first, second = bench.accept(random_batch(5)), bench.accept(random_batch(6), after=1)
    bench.training.train(first.id)
    account("registry")
    with pytest.raises(TrackingForbidden, match="telltale-trainer"):
        bench.training.train(second.id)
    account("trainer")
    bench.training.train(second.id)
    bench.assert_trained_once([first, second])


def test_a_server_killed_in_the_middle_leaves_one_version(bench: Bench, mlflow_server: MlflowServer) -> None:
    row = bench.accept(random_batch(5))

    def kill(call: str) -> None:
        if call == "before create_model_version":
            mlflow_server.kill()

    began = time.monotonic()
    try:
        with pytest.raises(TrackingUnavailable):
            mortal(bench.training, kill).train(row.id)
        with pytest.raises(TrackingUnavailable):
            bench.training.train(row.id)
        assert time.monotonic() - began < 10
        bench.training.tracking.prepare()  # a trainer that starts now waits for it
    finally:
        if not mlflow_server.is_running():
            mlflow_server.kill()
            mlflow_server.start()
    bench.training.train(row.id)
    bench.assert_trained_once([row])


@pytest.mark.parametrize("lost", ["experiments/create", "runs/create", "registered-models/create", "versions/create"])
def test_an_answer_that_was_lost_leaves_one_version(
    settings: TrainerSettings, mlflow_server: MlflowServer, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.training.render", lambda *_: {"plot.png": b"a plot"})  # only to be quick
    with losing_answers(mlflow_server, lost) as url, bench_for(_at(settings, url)) as bench:
        row = bench.accept(random_batch(5))
        with pytest.raises(TrackingUnavailable):
            bench.training.train(row.id)
        bench.training.train(row.id)
        bench.assert_trained_once([row])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_stands_before_a_server_may_fail(status: int, account: Callable[[str], None], tmp_path: Path) -> None:
    account("trainer")
    with answering(status) as url, pytest.raises(TrackingUnavailable):
        Tracking(url, tmp_path).forget_attempts("default", "batch")


def test_a_server_that_never_answers_is_given_up(
    account: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account("trainer")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracking = Tracking(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        began = time.monotonic()
        with pytest.raises(TrackingUnavailable):
            tracking.forget_attempts("default", "batch")
        assert 1 <= time.monotonic() - began < 3


def _at(settings: TrainerSettings, url: str) -> TrainerSettings:
    return settings.model_copy(update={"mlflow_tracking_uri": url})


@contextmanager
def losing_answers(server: MlflowServer, path: str) -> Iterator[str]:
    """Stand before a server, and lose the answer to the first call whose path ends with ``path``, after its effect."""
    left = [path]

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as upstream:
                upstream.request(self.command, self.path, body, dict(self.headers.items()))
                answer = upstream.getresponse()
                data = answer.read()
            if left and self.path.endswith(left[0]):
                left.clear()
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name in ("Content-Type", "WWW-Authenticate"):
                if value := answer.headers.get(name):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815 - http.server calls them so

        def log_message(self, *_args: object) -> None:
            pass

    with serving(Proxy) as url:
        yield url
        assert not left, f"nothing asked for {path}"


@contextmanager
def answering(status: int) -> Iterator[str]:
    """Answer everything with a status, as a proxy does whose server is away."""

    class Away(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_POST = do_GET  # noqa: N815 - the same

        def log_message(self, *_args: object) -> None:
            pass

    with serving(Away) as url:
        yield url


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
