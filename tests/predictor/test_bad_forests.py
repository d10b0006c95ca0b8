"""A predictor that follows PostgreSQL and is told to serve a version that is damaged: the old one goes on serving."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest

from contract.digests import digest_of
from contract.forest_file import Forest, encode_forest
from contract.names import manifest_key
from fuzz.subject import publish_file
from predictor.models.loaded_versions import LoadedVersions
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from store.postgres import Postgres
from store.serving import ServedVersions
from tests.predictor.forests import stump_forest
from tests.predictor.records import record
from tests.predictor.running import Running, running

pytestmark = pytest.mark.integration

OLD, NEW, NEWEST = "20240115100000", "20240116100000", "20240117100000"
FOREST = stump_forest(("a", "b", "c", "d"))
# Rows at 0.5 end elsewhere than by the old version, so that whoever answers can be told by the score too.
OTHER = dataclasses.replace(FOREST, threshold=np.array([0.1, 0, 0], np.float32))
Until = Callable[[Callable[[], bool]], None]


@dataclass
class Plane:
    """A running predictor, and what the controller and the trainer do beside it."""

    running: Running
    root: Path
    models: ModelStore
    served: ServedVersions
    answers: set[tuple[int, str, float]] = field(default_factory=set)

    def publish(self, version: str, forest: Forest, data: bytes | None = None) -> Path:
        """Write a version whose forest file is ``data``, its digest right; returns the file's path."""
        manifest = publish_file(self.models, "default", version, forest, data or encode_forest(forest))
        return self.root / manifest.forest.key

    def serve(self, version: str, digest: str | None = None) -> None:
        """Have a version served by default."""
        self.served.serve("default", version, digest or self.models.manifest("default", version).forest.digest)

    def score(self) -> httpx.Response:
        return self.running.client.post("/score", json=record())

    def metric(self, name: str) -> float | None:
        registry = self.running.predictor.early.metrics.registry
        return registry.get_sample_value(f"telltale_{name}", {"model": "default"})


@pytest.fixture
def plane(database_url: str, objects: Path, until: Until) -> Iterator[Plane]:
    """A predictor that serves the old version."""
    postgres = Postgres(database_url)
    postgres.open()
    try:
        with running(database_url, objects) as started:
            made = Plane(started, objects, ModelStore(LocalObjectStore(objects)), ServedVersions(postgres))
            made.publish(OLD, FOREST)
            made.serve(OLD)
            until(lambda: started.client.get("/health/ready").status_code == 200 and made.score().status_code == 200)
            yield made
    finally:
        postgres.close()


@contextmanager
def asked_meanwhile(plane: Plane) -> Iterator[None]:
    """Ask for scores and readiness all the while; what was answered is in ``plane.answers``."""
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=plane.running.client.base_url, timeout=30) as client:
            while not ended.is_set():
                answer = client.post("/score", json=record())
                body = answer.json()
                plane.answers.add((answer.status_code, body.get("model_version"), body.get("anomaly_score")))
                plane.answers.add((client.get("/health/ready").status_code, "", 0.0))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def whole() -> bytes:
    return encode_forest(OTHER)


def changed(**arrays: object) -> bytes:
    return encode_forest(dataclasses.replace(OTHER, **arrays))  # type: ignore[arg-type]  # the arrays' names


NEWER = whole().replace(b'\\"format_version\\": 1', b'\\"format_version\\": 2')
# Files whose digest is right, as whoever writes into the model store can make them.
MADE = {
    "truncated": (whole()[:-1], "safetensors"),
    "empty": (b"\x00", "header claims"),
    "of a newer format": (NEWER, "upgrade the reader"),
    "child out of range": (changed(child=np.array([2, 0, 0], np.int32)), "a child is out of range"),
    "cycle": (changed(child=np.array([0, 0, 0], np.int32)), "does not come after its parent"),
    "shared nodes": (changed(root=np.array([0, 1], np.int32)), "share a node"),
    "feature out of range": (changed(feature=np.array([4, -1, -1], np.int32)), "a feature is out of range"),
    "NaN threshold": (changed(threshold=np.array([np.nan, 0, 0], np.float32)), "a threshold is not finite"),
    "other features": (changed(feature_names=("a", "b", "c", "e")), "names other features"),
    "header of 10 GB": ((10 * 2**30).to_bytes(8, "little") + whole()[8:], "header claims 10737418240"),
}
# What becomes of a good file, or of its manifest, after it was written.
Spoiling = Callable[[Path, Path], object]
SPOILED: dict[str, tuple[Spoiling, str]] = {
    "a bit is flipped": (lambda file, _: file.write_bytes(file.read_bytes()[:-1] + b"\x01"), "changed or damaged"),
    "its end is lost": (lambda file, _: os.truncate(file, 100), "changed or damaged"),
    "it has grown to 10 GB": (lambda file, _: os.truncate(file, 10 * 2**30), "belong to it"),
    "it is gone": (lambda file, _: file.unlink(), "there is no object"),
    "its manifest is cut": (lambda _, manifest: os.truncate(manifest, 50), "manifest is not readable"),
    "its manifest names a file elsewhere": (
        lambda _, manifest: manifest.write_text(manifest.read_text().replace('"key": "models/', '"key": "../models/')),
        "not its own",
    ),
}


def assert_the_old_one_goes_on(plane: Plane, until: Until, caplog: pytest.LogCaptureFixture, says: str) -> None:
    """Have the new version served in vain, and look at everything that tells about it."""
    with asked_meanwhile(plane):
        until(lambda: bool(plane.metric("model_load_failing")))
        until(lambda: (200, OLD, plane.score().json()["anomaly_score"]) in plane.answers)
    assert plane.answers == {(200, OLD, plane.score().json()["anomaly_score"]), (200, "", 0.0)}
    assert plane.metric("model_load_failures_total") == 1
    (line,) = [entry.getMessage() for entry in caplog.records if entry.name == LoadedVersions.__module__]
    assert line.startswith(f"version {NEW} of model default cannot be loaded: ")
    assert says in line
    assert line.endswith(f"; version {OLD} goes on serving")
    health = plane.running.client.get("/health").json()
    assert health["status"] == "degraded"
    assert any(NEW in problem and says in problem for problem in health["problems"])


@pytest.mark.parametrize("case", MADE)
def test_a_bad_forest_with_the_right_digest_is_not_served(
    plane: Plane, until: Until, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    data, says = MADE[case]
    with caplog.at_level(logging.WARNING):
        plane.publish(NEW, OTHER, data)
        plane.serve(NEW)
        assert_the_old_one_goes_on(plane, until, caplog, says)


@pytest.mark.parametrize("case", SPOILED)
def test_a_version_that_is_spoiled_in_the_model_store_is_not_served(
    plane: Plane, until: Until, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    spoil, says = SPOILED[case]
    with caplog.at_level(logging.WARNING):
        path = plane.publish(NEW, OTHER)
        spoil(path, plane.root / manifest_key("default", NEW))
        plane.serve(NEW, digest_of(whole()))
        assert_the_old_one_goes_on(plane, until, caplog, says)


def test_a_good_version_after_a_damaged_one_is_served_and_nothing_is_degraded_any_more(
    plane: Plane, until: Until
) -> None:
    plane.publish(NEW, OTHER, whole()[:-1])
    plane.serve(NEW)
    until(lambda: bool(plane.metric("model_load_failing")))
    plane.publish(NEWEST, OTHER)
    plane.serve(NEWEST)
    until(lambda: plane.score().json()["model_version"] == NEWEST)
    assert plane.metric("model_load_failing") == 0
    assert plane.running.client.get("/health").json()["status"] == "ok"


def test_whoever_asks_for_the_damaged_version_is_told_and_the_default_answers_the_others(plane: Plane) -> None:
    plane.publish(NEW, OTHER, MADE["cycle"][0])
    refusal = plane.running.client.post("/score", json=record(model_version=NEW))
    assert refusal.status_code == 503
    assert refusal.json()["type"] == "urn:telltale:problem:not-loadable"
    assert "does not come after its parent" in refusal.json()["detail"]
    assert plane.score().json()["model_version"] == OLD
    assert plane.running.client.get("/health/ready").status_code == 200


def test_a_predictor_pinned_to_a_damaged_version_lives_is_not_ready_and_serves_it_once_it_is_mended(
    objects: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither answers by something else nor ends."""
    monkeypatch.setattr("predictor.models.loaded_versions._RETRY_SECONDS", 0.3)
    models = ModelStore(LocalObjectStore(objects))
    path = objects / publish_file(models, "default", OLD, FOREST, encode_forest(FOREST)).forest.key
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    with running(None, objects, model="default", model_version=OLD) as started:
        until(lambda: bool(started.predictor.loaded.failures))
        assert started.client.get("/health/ready").status_code == 503
        assert started.client.get("/healthz").status_code == 200
        assert started.client.post("/score", json=record()).status_code == 503
        path.write_bytes(good)
        until(lambda: started.client.get("/health/ready").status_code == 200)
        assert started.client.post("/score", json=record()).json()["model_version"] == OLD
