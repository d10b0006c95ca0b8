"""Models in MLflow by the hundred, as the trainer registers them; one run is enough for all of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunTag

from contract.names import TAG_DIGEST, TAG_VERSION

_AT_ONCE = 4


class Models:
    """MLflow's registry, as a data scientist uses it.

    Args:
        url: of the server.

    """

    def __init__(self, url: str) -> None:
        self._client = MlflowClient(tracking_uri=url, registry_uri=url)
        self._experiment = self._client.create_experiment(f"benchmarks-{time.monotonic_ns()}")
        self._run: str | None = None

    def register(self, models: Iterable[str], versions: Iterable[str]) -> None:
        """Register versions of models that are new, in order; `champion` names the first."""
        run, given = self._run or self._new_run(), list(versions)

        def register(model: str) -> None:
            self._client.create_registered_model(model)
            for version in given:
                tags = {TAG_VERSION: version, TAG_DIGEST: f"sha256:{version:0>64}"}
                self._client.create_model_version(
                    model, source=f"runs:/{run}/model", run_id=run, tags=tags, await_creation_for=0
                )
            self._client.set_registered_model_alias(model, "champion", "1")

        with ThreadPoolExecutor(_AT_ONCE) as executor:
            list(executor.map(register, models))

    def promote(self, models: Iterable[str], number: int) -> None:
        """Let `champion` name the version of a number, of each model."""
        with ThreadPoolExecutor(_AT_ONCE) as executor:
            list(executor.map(lambda m: self._client.set_registered_model_alias(m, "champion", str(number)), models))

    def _new_run(self) -> str:
        run_id = str(self._client.create_run(self._experiment).info.run_id)
        columns = [{"name": name, "type": "double", "required": True} for name in ("speed", "temperature")]
        data = Dataset("window", "1", "telltale", "{}", schema=json.dumps({"mlflow_colspec": columns}))
        self._client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
        metric = Metric("holdout_flag_rate", 0.05, int(time.time() * 1000), 0)
        self._client.log_batch(run_id, [metric], tags=[RunTag(TAG_VERSION, "20260101000000")])
        self._client.set_terminated(run_id)
        self._run = run_id
        return run_id
