"""Small forests made by hand, and publishing them as a trainer would."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from contract.forest_file import Forest, encode_forest
from contract.manifest import Manifest, encode_probe
from scoring.reference import decision_function
from store.model_store import ModelStore


def stump_forest(feature_names: tuple[str, ...], *, threshold: float = 1.0) -> Forest:
    """One tree that isolates rows whose first feature is above ``threshold``: those are anomalous."""
    return Forest(
        threshold=np.array([threshold, 0, 0], np.float32),
        feature=np.array([0, -1, -1], np.int32),
        child=np.array([1, 0, 0], np.int32),
        leaf_value=np.array([0, 8.0, 1.0], np.float64),
        root=np.array([0], np.int32),
        feature_names=feature_names,
        offset=-0.6,
        normalizer=4.0,
        training_digest=f"sha256:{'0' * 64}",
    )


def publish(
    models: ModelStore,
    model: str,
    version: str,
    forest: Forest,
    *,
    batch_id: str = "b",
    records: int = 1,
    probe_value: float = 0.0,
) -> Manifest:
    """Write a version into the model store; returns its manifest."""
    X = np.full((1, forest.n_features), probe_value)
    stored = models.put_forest(model, version, encode_forest(forest))
    probe = models.put_probe(model, version, encode_probe(X, decision_function(forest, X)))
    manifest = Manifest(
        model=model,
        version=version,
        forest=stored,
        probe=probe,
        feature_names=forest.feature_names,
        batch_id=batch_id,
        training_digest=forest.training_digest,
        training_records=records,
        mlflow_run_id="run",
        mlflow_version="1",
        created_at=datetime(2024, 1, 15, 10, tzinfo=UTC),
    )
    models.publish(manifest)
    return manifest
