"""Gathering what the offline gate looks at: the artefact, read and scored as a predictor would, by the same kernel."""

from __future__ import annotations

import numpy as np

from contract.errors import CorruptArtifact
from contract.manifest import Manifest
from contract.version_ids import is_version_id
from registry.offline_gate import Evidence
from scoring.kernel import first_bad, scorer
from store.errors import ObjectMissing
from store.model_store import ModelStore


def gather(models: ModelStore, model: str, version: str, *, registered_digest: str) -> Evidence:
    """Return the evidence on a version; a damaged or missing artefact is evidence, not an error.

    Raises:
        StoreUnavailable: the model store cannot be read now, which says nothing about the version.

    """
    if not is_version_id(version):
        fault = "this MLflow version has no telltale.version tag, so Telltale's trainer did not make it"
        return _unreadable(fault, registered_digest)
    try:
        manifest = models.manifest(model, version)
        return _scored(models, manifest, registered_digest)
    except (CorruptArtifact, ObjectMissing) as fault:
        return _unreadable(str(fault), registered_digest)


def _unreadable(fault: str, registered_digest: str) -> Evidence:
    return Evidence((), fault, registered_digest, "", 0, float("nan"), 0)


def _scored(models: ModelStore, manifest: Manifest, registered_digest: str) -> Evidence:
    forest = models.load(manifest)
    X, expected = models.probe(manifest)
    if X.ndim != 2 or X.shape[1] != forest.n_features or expected.shape != (len(X),):
        raise CorruptArtifact(f"the probe rows have the shape {X.shape} for a forest of {forest.n_features} features")
    bad = first_bad(X)
    if bad is not None:
        raise CorruptArtifact(f"probe row {bad[0]} cannot be scored: feature {bad[1]} is {X[bad]}")
    scores = scorer(forest).score(X)
    return Evidence(
        feature_names=forest.feature_names,
        fault=None,
        registered_digest=registered_digest,
        stored_digest=manifest.forest.digest,
        probe_rows=len(X),
        probe_difference=float(np.max(np.abs(scores - expected), initial=0.0)),
        probe_flips=int(np.sum((scores < 0) != (expected < 0))),
    )
