"""A small model as the trainer makes it, in a model store of one's choice, and what scikit-learn says of some rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from contract.forest_file import encode_forest
from contract.manifest import Manifest, encode_probe
from store.model_store import ModelStore
from trainer.export import export
from trainer.fit import Hyperparameters, fit
from trainer.probe import probe_rows

MODEL = "fleet"
VERSION = "20240115100000"
FEATURES = ("engine_temp", "oil_pressure", "vibration")


@dataclass(frozen=True)
class TrainedModel:
    """A published version, rows, and scikit-learn's decision function of each."""

    manifest: Manifest
    X: NDArray[np.float64]
    expected: NDArray[np.float64]

    @property
    def digest(self) -> str:
        """The artefact's."""
        return self.manifest.forest.digest

    def records(self) -> list[dict[str, object]]:
        """Return the rows as ``/score`` takes them."""
        return [
            {"vehicle_id": f"VH-{i}", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": row}
            for i, row in enumerate(self.X.tolist())
        ]

    def tensor(self) -> dict[str, object]:
        """Return the rows as a tensor of V2."""
        return {"name": "rows", "shape": list(self.X.shape), "datatype": "FP64", "data": self.X.ravel().tolist()}


def train_into(models: ModelStore, version: str = VERSION) -> TrainedModel:
    """Fit, export and publish a forest by the trainer's own code; nothing of it goes to MLflow."""
    generator = np.random.default_rng(7)
    X = generator.normal(size=(500, len(FEATURES)))
    parameters = Hyperparameters(n_estimators=50)
    estimator = fit(X, parameters).estimator
    training_digest = f"sha256:{'7' * 64}"
    forest = export(estimator, FEATURES, training_digest=training_digest)
    rows = probe_rows(forest, X, seed=7)
    manifest = Manifest(
        model=MODEL,
        version=version,
        forest=models.put_forest(MODEL, version, encode_forest(forest)),
        probe=models.put_probe(MODEL, version, encode_probe(rows, estimator.decision_function(rows))),
        feature_names=FEATURES,
        batch_id="batch",
        training_digest=training_digest,
        training_records=len(X),
        mlflow_run_id="run",
        mlflow_version="1",
        created_at=datetime(2024, 1, 15, 10, tzinfo=UTC),
    )
    models.publish(manifest)
    asked = np.concatenate([X[:20], X[:5] + 8.0])
    return TrainedModel(manifest, asked, estimator.decision_function(asked))
