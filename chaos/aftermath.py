"""What is left when all is over: each delivered batch, each version, and nothing that belongs to nobody.

It looks for itself, with its own idea of what belongs to whom, and not with the eyes of the garbage collector.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import httpx
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.entities.model_registry import ModelVersion

from chaos.campaign import MODELS
from chaos.clients import FEATURES, Ledger
from contract.errors import ContractError
from contract.manifest import Manifest
from contract.names import TAG_BATCH, TAG_DIGEST, TAG_VERSION, manifest_key
from store.errors import StoreError
from store.ingest_log import BatchRow, IngestLog
from store.model_store import ModelStore
from store.objects import ObjectStore


@dataclass
class Found:
    """How many of each fault, and what they are, for people."""

    lost: int = 0
    half_registered: int = 0
    orphans: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Places:
    """Where to look.

    Args:
        log: batches in PostgreSQL and the object store.
        objects: the object store.
        mlflow: MLflow's server.
        mlflow_objects: the bucket of MLflow's artefacts.
        url: the predictor.

    """

    log: IngestLog
    objects: ObjectStore
    mlflow: MlflowClient
    mlflow_objects: ObjectStore
    url: str


def examine(places: Places, ids: list[str], ledger: Ledger) -> Found:
    """Compare what the fleet was told with what is there."""
    found = Found()
    rows = [places.log.get(batch_id) for batch_id in ids]
    _look_at_batches(places, rows, ledger, found)
    manifests = _look_at_versions(places, rows, found)
    _look_for_orphans(places, rows, manifests, found)
    return found


def _look_at_batches(places: Places, rows: list[BatchRow], ledger: Ledger, found: Found) -> None:
    """Read every batch; each acknowledged one is there once."""
    marks: Counter[str] = Counter()
    for row in rows:
        try:
            marks.update({vehicle.rpartition("-")[0] for vehicle in places.log.read(row).vehicle_ids})
        except (StoreError, ContractError) as fault:
            found.notes.append(f"batch {row.id} cannot be read: {fault}")
    for mark in ledger.jobs:
        if marks[mark] != 1:
            found.lost += 1
            found.notes.append(f"the batch {mark} was acknowledged and is there {marks[mark]} times")


def _look_at_versions(places: Places, rows: list[BatchRow], found: Found) -> list[Manifest]:
    """Compare PostgreSQL, the model store, MLflow and `/score` for every version; return the whole ones' manifests."""
    models = ModelStore(places.objects)
    registered: dict[tuple[str, str], list[ModelVersion]] = {}
    for model in MODELS:
        for version in places.mlflow.search_model_versions(f"name = '{model}'", max_results=10_000):
            registered.setdefault((model, version.tags.get(TAG_VERSION, "")), []).append(version)
    expected = {(row.model, row.version): row for row in rows}
    visible = {(model, version) for model in models.models() for version in models.versions(model)}
    whole = []
    for key in sorted(expected.keys() | registered.keys() | visible):
        try:
            whole.append(_whole(places, key, expected.get(key), registered.get(key, [])))
        except (_Half, StoreError, ContractError) as fault:
            found.half_registered += 1
            found.notes.append(f"{key[0]} {key[1]}: {fault}")
    return whole


class _Half(Exception):
    """A version is not the same, whole and single, everywhere."""


def _whole(places: Places, key: tuple[str, str], row: BatchRow | None, registered: list[ModelVersion]) -> Manifest:
    """Return a version's manifest if all is as it should be, else raise."""
    if row is None:
        raise _Half("there is no batch for it")
    if row.state != "done":
        raise _Half(f"its batch ended as {row.state}: {row.error}")
    if len(registered) != 1:
        raise _Half(f"MLflow has it {len(registered)} times")
    models = ModelStore(places.objects)
    manifest = models.manifest(*key)
    models.load(manifest)
    models.probe(manifest)
    tags = registered[0].tags
    if (tags[TAG_BATCH], tags[TAG_DIGEST], manifest.batch_id) != (row.id, manifest.forest.digest, row.id):
        raise _Half("MLflow and the model store disagree")
    if (manifest.mlflow_version, manifest.mlflow_run_id) != (str(registered[0].version), registered[0].run_id):
        raise _Half("the manifest names another version of MLflow")
    run = places.mlflow.get_run(manifest.mlflow_run_id)
    if run.info.status != "FINISHED":
        raise _Half(f"its run in MLflow is {run.info.status}")
    if not list(places.mlflow.list_artifacts(run.info.run_id, "model")):
        raise _Half("its run has no model")
    _ask(places.url, key)
    return manifest


def _ask(url: str, key: tuple[str, str]) -> None:
    record = {"vehicle_id": "x", "timestamp": "2026-01-15T10:00:00Z", "feature_vector": [0.0] * FEATURES}
    try:
        answer = httpx.post(f"{url}/score", json=record | {"model": key[0], "model_version": key[1]}, timeout=30)
    except httpx.TransportError as error:
        raise _Half(f"/score does not answer: {error}") from error
    if not answer.is_success:
        raise _Half(f"/score answers {answer.status_code}: {answer.text[:200]}")


def _look_for_orphans(places: Places, rows: list[BatchRow], manifests: list[Manifest], found: Found) -> None:
    owned = {row.object_key for row in rows}
    for manifest in manifests:
        owned |= {manifest_key(manifest.model, manifest.version), manifest.forest.key, manifest.probe.key}
    orphans = [f"object {key}" for key in places.objects.keys("") if key not in owned]
    runs = {manifest.mlflow_run_id for manifest in manifests}
    alive = _runs(places.mlflow)
    orphans += [f"run {run.info.run_id} ({run.info.status})" for run in alive if run.info.run_id not in runs]
    for key in places.mlflow_objects.keys(""):
        # {experiment}/{run}/artifacts/…
        if not runs.intersection(key.split("/")):
            orphans.append(f"MLflow's artefact {key}")
    found.orphans = len(orphans)
    found.notes += orphans


def _runs(mlflow: MlflowClient) -> list[Run]:
    """Return all runs that are not deleted."""
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    found: list[Run] = []
    token: str | None = None
    while True:
        page = mlflow.search_runs(experiments, run_view_type=ViewType.ACTIVE_ONLY, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
