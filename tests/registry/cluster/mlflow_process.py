"""A real MLflow server for these tests, with versions as the trainer registers them; it can be stopped and started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunTag

from contract.names import TAG_DIGEST, TAG_VERSION

_START_SECONDS = 90.0


class MlflowProcess:
    """One server on a folder; it keeps its port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self, start_seconds: float = _START_SECONDS) -> None:
        """Start it; returns when it answers. One that ends, or does not answer in time, is killed and told of."""
        command = [
            os.environ.get("TELLTALE_TEST_MLFLOW", str(Path(sys.executable).with_name("mlflow"))),
            "server",
            "--backend-store-uri",
            f"sqlite:///{self._folder}/mlflow.db",
            "--artifacts-destination",
            str(self._folder / "artifacts"),
            "--host",
            "127.0.0.1",
            "--port",
            str(self._port),
            "--workers",
            "1",
        ]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true"}
        environment.pop("PYTHONPATH", None)
        with (self._folder / "mlflow.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=self._folder, start_new_session=True
            )
        deadline = time.monotonic() + start_seconds
        while not self.answers():
            ended, late = self._process.poll() is not None, time.monotonic() >= deadline
            if ended or late:
                self.stop()
                what = "ended" if ended else f"did not answer within {start_seconds:g} s"
                raise AssertionError(f"MLflow {what}: {(self._folder / 'mlflow.log').read_text()[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Kill it and all that it started."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):  # the server and its workers ended by themselves
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def answers(self) -> bool:
        """Tell whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:  # noqa: S310 - http
                return bool(answer.status == 200)
        except OSError:
            return False


class Versions:
    """Registers versions of models."""

    def __init__(self, url: str) -> None:
        self.client = MlflowClient(tracking_uri=url, registry_uri=url)
        self._experiment = self.client.create_experiment(f"tests-{time.monotonic_ns()}")

    def register(
        self,
        model: str,
        version: str,
        *,
        metrics: dict[str, float] | None = None,
        features: tuple[str, ...] = ("speed", "temperature"),
        digest: str | None = None,
    ) -> str:
        """Register a version with its run; return MLflow's number."""
        run = self.client.create_run(self._experiment, run_name=version)
        run_id = run.info.run_id
        now = int(time.time() * 1000)
        columns = [{"name": name, "type": "double", "required": True} for name in features]
        data = Dataset("window", version, "telltale", "{}", schema=json.dumps({"mlflow_colspec": columns}))
        self.client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
        logged = [Metric(name, value, now, 0) for name, value in (metrics or {"holdout_flag_rate": 0.05}).items()]
        self.client.log_batch(run_id, logged, tags=[RunTag(TAG_VERSION, version)])
        self.client.set_terminated(run_id)
        if not any(known.name == model for known in self.client.search_registered_models(f"name = '{model}'")):
            self.client.create_registered_model(model)
        tags = {TAG_VERSION: version, TAG_DIGEST: digest or f"sha256:{version:0>64}"}
        made = self.client.create_model_version(model, source=f"runs:/{run_id}/model", run_id=run_id, tags=tags)
        return str(made.version)

    def alias(self, model: str, number: str, alias: str = "champion") -> None:
        """Move an alias."""
        self.client.set_registered_model_alias(model, alias, number)
