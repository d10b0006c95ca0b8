"""The files of a run: plots, the features' baseline, and the model as notebooks load it."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from pathlib import Path

import joblib
import mlflow.pyfunc
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from trainer import notebook_model
from trainer.run_record import MODEL_PATH, RunRecord

_EXAMPLE_ROWS = 5
_NOTEBOOK_PACKAGES = ("scikit-learn", "joblib", "numpy", "pandas")


def write_artifacts(record: RunRecord, folder: Path) -> None:
    """Write a run's files into an empty folder."""
    (folder / "plots").mkdir()
    for name, png in record.plots.items():
        (folder / "plots" / name).write_bytes(png)
    (folder / "feature_baseline.json").write_text(json.dumps(record.baseline, indent=1))
    with tempfile.TemporaryDirectory() as scratch:
        estimator = Path(scratch) / "model.joblib"
        joblib.dump(record.forest, estimator, compress=3)
        mlflow.pyfunc.save_model(
            path=str(folder / MODEL_PATH),
            loader_module=notebook_model.__name__.rpartition(".")[2],
            data_path=str(estimator),
            code_paths=[str(notebook_model.__file__)],
            signature=signature_of(record.dataset.feature_names),
            input_example=pd.DataFrame(record.dataset.X[:_EXAMPLE_ROWS], columns=list(record.dataset.feature_names)),
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in _NOTEBOOK_PACKAGES],
        )


def signature_of(feature_names: tuple[str, ...]) -> ModelSignature:
    """Return a model's signature as MLflow shows it: a double for each feature; score and label come out."""
    inputs = Schema([ColSpec(DataType.double, name) for name in feature_names])
    outputs = Schema([ColSpec(DataType.double, "anomaly_score"), ColSpec(DataType.boolean, "is_anomaly")])
    return ModelSignature(inputs=inputs, outputs=outputs)
