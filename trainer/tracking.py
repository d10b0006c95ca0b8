"""What a training run leaves in MLflow: the run with its plots, and the registered model version.

A version is registered once for each batch. An attempt that was lost leaves a run, perhaps a version; the next attempt
forgets both before it makes its own, so there are never two.
"""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.types import ColSpec, DataType, Schema
from sklearn.ensemble import IsolationForest
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from contract.names import (
    CANDIDATE_ALIAS,
    TAG_BATCH,
    TAG_DIGEST,
    TAG_RECORDS,
    TAG_TRAINING_DIGEST,
    TAG_VERSION,
)
from trainer import notebook_model
from trainer.dataset import Dataset
from trainer.errors import TrackingRefused, TrackingUnavailable

_EXAMPLE_ROWS = 5


@dataclass(frozen=True)
class RunRecord:
    """Everything that one training run has to tell.

    Args:
        model, version, batch_id: what was trained, and why.
        forest: the fitted estimator.
        dataset: the rows it was fitted to.
        params: what it was fitted with.
        metrics: of the evaluation.
        plots: PNG files by name.
        baseline: the features' distributions.
        digest: the artefact digest of the forest file.
        warnings: for people.

    """

    model: str
    version: str
    batch_id: str
    forest: IsolationForest
    dataset: Dataset
    params: dict[str, str]
    metrics: dict[str, float]
    plots: dict[str, bytes]
    baseline: dict[str, object]
    digest: str
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RegisteredRun:
    """A finished run's id and the MLflow number of the version that it registered."""

    run_id: str
    number: str


class Tracking:
    """MLflow as the trainer uses it.

    Args:
        tracking_uri: a server's URL or a database's, as MLflow takes it.
        artifact_root: folder for the artefacts of models that are trained for the first time.

    """

    def __init__(self, tracking_uri: str, artifact_root: Path) -> None:
        self._artifact_root = artifact_root.resolve()
        with _mlflow_errors():
            self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def prepare(self) -> None:
        """Touch the store, which makes its tables at first contact."""
        with _mlflow_errors():
            self._client.search_experiments(max_results=1)

    def forget_attempts(self, model: str, batch_id: str, *, keep: RegisteredRun | None = None) -> None:
        """Delete what lost attempts at a batch left, all but ``keep``."""
        # Model names and batch ids are of a closed alphabet, so nothing in here needs quoting.
        of_batch = f"tags.`{TAG_BATCH}` = '{batch_id}'"
        with _mlflow_errors():
            for version in self._client.search_model_versions(f"name = '{model}' AND {of_batch}"):
                if keep is None or str(version.version) != keep.number:
                    self._client.delete_model_version(model, version.version)
            experiment = self._client.get_experiment_by_name(model)
            if experiment is None:
                return
            for run in self._client.search_runs([experiment.experiment_id], of_batch):
                if keep is None or run.info.run_id != keep.run_id:
                    self._client.delete_run(run.info.run_id)

    def record(self, record: RunRecord) -> RegisteredRun:
        """Record a run and register its version; the run is finished before the version exists."""
        with _mlflow_errors():
            run = self._client.create_run(
                self._experiment(record.model), run_name=record.version, tags={TAG_BATCH: record.batch_id}
            )
            run_id = str(run.info.run_id)
            self._log_numbers(run_id, record)
            with tempfile.TemporaryDirectory() as folder:
                write_artifacts(record, Path(folder))
                self._client.log_artifacts(run_id, folder)
            self._client.set_terminated(run_id, "FINISHED")
            return RegisteredRun(run_id, self._register(record, run_id, str(run.info.artifact_uri)))

    def make_candidate(self, model: str, version: str, number: str) -> None:
        """Let the alias ``candidate`` name a version, unless it names a newer one already."""
        with _mlflow_errors():
            try:
                current = self._client.get_model_version_by_alias(model, CANDIDATE_ALIAS).tags.get(TAG_VERSION, "")
            except MlflowException as error:
                if error.error_code not in _MISSING:
                    raise
                current = ""
            if current <= version:
                self._client.set_registered_model_alias(model, CANDIDATE_ALIAS, number)

    def _experiment(self, model: str) -> str:
        """Return the id of the model's experiment, made at its first training."""
        known = self._client.get_experiment_by_name(model)
        if known is None:
            location = (self._artifact_root / model).as_uri()
            return str(self._client.create_experiment(model, artifact_location=location))
        if known.lifecycle_stage == "deleted":
            self._client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)

    def _log_numbers(self, run_id: str, record: RunRecord) -> None:
        now = int(time.time() * 1000)
        self._client.log_batch(
            run_id,
            metrics=[Metric(name, value, now, 0) for name, value in record.metrics.items()],
            params=[Param(name, value) for name, value in record.params.items()],
            tags=[RunTag(name, value) for name, value in _tags(record).items()],
        )
        columns = [{"name": name, "type": "double", "required": True} for name in record.dataset.feature_names]
        dataset = MlflowDataset(
            name=f"{record.model}-window",
            digest=record.dataset.digest.removeprefix("sha256:")[:32],
            source_type="telltale",
            source=json.dumps({"newest_batch": record.batch_id}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({"num_rows": len(record.dataset), "num_elements": record.dataset.X.size}),
        )
        self._client.log_inputs(run_id, [DatasetInput(dataset)])

    def _register(self, record: RunRecord, run_id: str, artifact_uri: str) -> str:
        try:
            self._client.create_registered_model(record.model)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        version = self._client.create_model_version(
            record.model,
            source=f"{artifact_uri}/model",
            run_id=run_id,
            tags=_tags(record),
            description="; ".join(record.warnings)[:1000] or None,
        )
        return str(version.version)


def write_artifacts(record: RunRecord, folder: Path) -> None:
    """Write a run's files: plots, the drift baseline, and the model for notebooks."""
    (folder / "plots").mkdir()
    for name, png in record.plots.items():
        (folder / "plots" / name).write_bytes(png)
    (folder / "feature_baseline.json").write_text(json.dumps(record.baseline, indent=1))
    with tempfile.TemporaryDirectory() as scratch:
        estimator = Path(scratch) / "model.joblib"
        joblib.dump(record.forest, estimator, compress=3)
        mlflow.pyfunc.save_model(
            path=str(folder / "model"),
            loader_module=notebook_model.__name__.rpartition(".")[2],
            data_path=str(estimator),
            code_paths=[str(notebook_model.__file__)],
            signature=signature_of(record.dataset.feature_names),
            input_example=pd.DataFrame(record.dataset.X[:_EXAMPLE_ROWS], columns=list(record.dataset.feature_names)),
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in _NOTEBOOK_PACKAGES],
        )


_NOTEBOOK_PACKAGES = ("scikit-learn", "joblib", "numpy", "pandas")
_PASSING = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED")
# OSError covers the connection errors of requests too.
_AWAY = (OperationalError, InterfaceError, PoolTimeout, OSError)
_MISSING = (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), "INVALID_PARAMETER_VALUE")


def signature_of(feature_names: tuple[str, ...]) -> ModelSignature:
    """Return a model's signature as MLflow shows it: a double for each feature; score and label come out."""
    inputs = Schema([ColSpec(DataType.double, name) for name in feature_names])
    outputs = Schema([ColSpec(DataType.double, "anomaly_score"), ColSpec(DataType.boolean, "is_anomaly")])
    return ModelSignature(inputs=inputs, outputs=outputs)


def _tags(record: RunRecord) -> dict[str, str]:
    return {
        TAG_VERSION: record.version,
        TAG_BATCH: record.batch_id,
        TAG_DIGEST: record.digest,
        TAG_TRAINING_DIGEST: record.dataset.digest,
        TAG_RECORDS: str(len(record.dataset)),
    }


@contextmanager
def _mlflow_errors() -> Iterator[None]:
    """Turn what MLflow raises into ours: its own errors, its database's, and those of the files that it writes."""
    try:
        yield
    except MlflowException as error:
        kind = TrackingUnavailable if may_pass(error) else TrackingRefused
        raise kind(f"MLflow: {error.error_code}: {error.message}") from error
    except (SQLAlchemyError, OSError) as error:
        raise TrackingUnavailable(f"MLflow's store: {error}") from error


def may_pass(error: MlflowException) -> bool:
    """Tell whether MLflow failed because something behind it is away, not because of what it was asked."""
    if error.error_code in _PASSING:
        return True
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _AWAY):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
