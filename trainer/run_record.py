"""What one training has to tell MLflow, and the words in which a data scientist reads it there. PURE."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from contract.names import TAG_BATCH, TAG_DIGEST, TAG_RECORDS, TAG_TRACEPARENT, TAG_TRAINING_DIGEST, TAG_VERSION
from trainer.dataset import Dataset

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest

# What MLflow's pages show as description, user and source of a run: tags of these names.
NOTE = "mlflow.note.content"
_LOGGED = "mlflow.log-model.history"
_SOURCE = {"mlflow.user": "trainer", "mlflow.source.name": "telltale trainer", "mlflow.source.type": "JOB"}
_LONGEST_NOTE = 5000
# Where the model for notebooks is among a run's artefacts.
MODEL_PATH = "model"


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
        traceparent: the span of the training, if it is traced.

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
    traceparent: str | None = None


@dataclass(frozen=True)
class RegisteredRun:
    """A finished run's id and the MLflow number of the version that it registered."""

    run_id: str
    number: str


def version_tags(record: RunRecord) -> dict[str, str]:
    """Return the tags by which the rest of Telltale knows a run and its version."""
    traced = {} if record.traceparent is None else {TAG_TRACEPARENT: record.traceparent}
    return {
        TAG_VERSION: record.version,
        TAG_BATCH: record.batch_id,
        TAG_DIGEST: record.digest,
        TAG_TRAINING_DIGEST: record.dataset.digest,
        TAG_RECORDS: str(len(record.dataset)),
        **traced,
    }


def run_tags(record: RunRecord, run_id: str) -> dict[str, str]:
    """Return a run's tags: a version's, and those from which MLflow fills its columns."""
    logged = {"run_id": run_id, "artifact_path": MODEL_PATH, "flavors": {"python_function": {}}}
    return version_tags(record) | _SOURCE | {NOTE: version_note(record), _LOGGED: json.dumps([logged])}


def experiment_tags(model: str) -> dict[str, str]:
    """Return the tags of a model's experiment: its description, and which of MLflow's pages fit it."""
    return {NOTE: _experiment_note(model), "mlflow.experimentKind": "custom_model_development"}


def version_note(record: RunRecord) -> str:
    """Return a run's and a version's description."""
    rate = record.metrics.get("holdout_flag_rate")
    first, last = (datetime.fromtimestamp(int(t) / 1e6, UTC) for t in record.dataset.timestamps[[0, -1]])
    said = (
        f"`{record.version}`: Isolation Forest of {record.params.get('n_estimators', '?')} trees on"
        f" {len(record.dataset):,} records of {len(record.dataset.feature_names)} features,"
        f" {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC; trained on the arrival of batch `{record.batch_id}`."
    )
    if rate is not None:
        said += f" Of the newest records, held out, {rate:.1%} come out as anomalous."
    warned = [f"- {warning}" for warning in record.warnings]
    return "\n".join([said, *(["", "Warnings:", *warned] if warned else [])])[:_LONGEST_NOTE]


def _experiment_note(model: str) -> str:
    """Return the description of a model's experiment."""
    return (
        f"Trainings of the model `{model}`: one run for each batch of telemetry, named after the version that came of"
        " it. To compare them, look at `holdout_flag_rate` (share of the newest records that come out as anomalous;"
        " near `contamination` is good), `holdout_rank_correlation` (1: the records before them foretold their order)"
        " and the plots among the artefacts."
    )


def model_note(model: str) -> str:
    """Return the description of a registered model."""
    return (
        f"Isolation Forests for the telemetry of `{model}`. The alias `candidate` names the newest version, `champion`"
        " the one that is served: move it, and the servers follow. The tag `telltale.version` is the version that"
        " `/score` answers with."
    )
