"""What a training run leaves in MLflow: the run with its plots, and the registered model version.

A version is registered once for each batch. An attempt that was lost leaves a run, perhaps a version; the next attempt
forgets both before it makes its own, so there are never two. For that MLflow's client must not try calls again by
itself (`python -m trainer` tells it so): a call whose answer was lost may have had its effect.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode

from contract.names import CANDIDATE_ALIAS, TAG_BATCH, TAG_VERSION
from trainer.attempt import Check
from trainer.errors import TrackingForbidden, TrackingRefused, TrackingUnavailable
from trainer.run_artifacts import write_artifacts
from trainer.run_record import (
    MODEL_PATH,
    RegisteredRun,
    RunRecord,
    experiment_tags,
    model_note,
    run_tags,
    version_note,
    version_tags,
)
from trainer.tracking_errors import mlflow_errors

_log = logging.getLogger(__name__)

_MISSING = (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), "INVALID_PARAMETER_VALUE")
_EXISTS = ErrorCode.Name(RESOURCE_ALREADY_EXISTS)


def is_server(tracking_uri: str) -> bool:
    """Tell whether a tracking URI names an MLflow server, which keeps artefacts itself, and not a database."""
    return tracking_uri.startswith(("http://", "https://"))


class Tracking:
    """MLflow as the trainer uses it.

    Args:
        tracking_uri: a server's URL or a database's, as MLflow takes it.
        artifact_root: folder for the artefacts of models that are trained for the first time; a server has its own
            place for them.

    """

    def __init__(self, tracking_uri: str, artifact_root: Path) -> None:
        self._artifact_root = None if is_server(tracking_uri) else artifact_root.resolve()
        with mlflow_errors():
            self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def prepare(self) -> None:
        """Touch the store: a database gets its tables at first contact. A server may be away, since trainings wait.

        Raises:
            TrackingUnavailable: the database does not answer.
            TrackingForbidden: the server does not let us in.

        """
        try:
            with mlflow_errors():
                self._client.search_experiments(max_results=1)
        except TrackingForbidden:
            raise
        except TrackingUnavailable as error:
            if self._artifact_root is not None:
                raise
            _log.warning("trainings will wait for MLflow, which does not answer now: %s", error)

    def forget_attempts(
        self, model: str, batch_id: str, *, keep: RegisteredRun | None = None, still_alone: Check = lambda: None
    ) -> None:
        """Delete what lost attempts at a batch left, all but ``keep``.

        ``still_alone`` is asked between looking and deleting: what was there while we were alone is nobody's, however
        long we are held up then; what another attempt makes later is not among it.
        """
        # Model names and batch ids are of a closed alphabet, so nothing in here needs quoting.
        of_batch = f"tags.`{TAG_BATCH}` = '{batch_id}'"
        with mlflow_errors():
            versions = self._client.search_model_versions(f"name = '{model}' AND {of_batch}")
            experiment = self._client.get_experiment_by_name(model)
            runs = [] if experiment is None else self._client.search_runs([experiment.experiment_id], of_batch)
            still_alone()
            for version in versions:
                if keep is None or str(version.version) != keep.number:
                    self._client.delete_model_version(model, version.version)
            for run in runs:
                if keep is None or run.info.run_id != keep.run_id:
                    self._client.delete_run(run.info.run_id)

    def record(self, record: RunRecord) -> RegisteredRun:
        """Record a run and register its version; the run is finished before the version exists."""
        with mlflow_errors():
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
        with mlflow_errors():
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
            location = None if self._artifact_root is None else (self._artifact_root / model).as_uri()
            try:
                return str(self._client.create_experiment(model, location, tags=experiment_tags(model)))
            except MlflowException as error:
                known = self._client.get_experiment_by_name(model) if error.error_code == _EXISTS else None
                if known is None:
                    raise  # or else another trainer made it just now
        if self._artifact_root is None and known.artifact_location.startswith(("file:", "/")):
            raise TrackingRefused(
                f"MLflow: the artefacts of the experiment {model!r} are in {known.artifact_location}, a folder of"
                " another machine: rename the experiment, and a new one is made"
            )
        if known.lifecycle_stage == "deleted":
            self._client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)

    def _log_numbers(self, run_id: str, record: RunRecord) -> None:
        now = int(time.time() * 1000)
        self._client.log_batch(
            run_id,
            # In the order of their names: what MLflow compares unasked is the first, the holdout's flag rate.
            metrics=[Metric(name, value, now, 0) for name, value in sorted(record.metrics.items())],
            params=[Param(name, value) for name, value in record.params.items()],
            tags=[RunTag(name, value) for name, value in run_tags(record, run_id).items()],
        )
        columns = [{"name": name, "type": "double", "required": True} for name in record.dataset.feature_names]
        dataset = MlflowDataset(
            name=f"{record.model}-window",
            digest=record.dataset.digest.removeprefix("sha256:")[:12],
            source_type="telltale",
            source=json.dumps({"newest_batch": record.batch_id}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({"num_rows": len(record.dataset), "num_elements": record.dataset.X.size}),
        )
        self._client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def _register(self, record: RunRecord, run_id: str, artifact_uri: str) -> str:
        try:
            self._client.create_registered_model(record.model, description=model_note(record.model))
        except MlflowException as error:
            if error.error_code != _EXISTS:
                raise
        version = self._client.create_model_version(
            record.model,
            source=f"{artifact_uri}/{MODEL_PATH}",
            run_id=run_id,
            tags=version_tags(record),
            description=version_note(record),
        )
        return str(version.version)
