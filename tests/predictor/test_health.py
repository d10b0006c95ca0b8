"""Health, readiness, liveness."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from tests.predictor.forests import publish, stump_forest
from tests.predictor.records import batch
from tests.predictor.running import Running, running
from tests.predictor.simulated_trainer import SimulatedTrainer

Until = Callable[[Callable[[], bool]], None]
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.mark.integration
def test_a_server_without_models_is_ready_once_it_knows_that(server: Running, until: Until) -> None:
    """Nothing to load is all loaded."""
    until(lambda: server.client.get("/health/ready").status_code == 200)
    assert server.client.get("/health/ready").json() == {"ready": True, "models": [], "waiting_for": []}


@pytest.mark.integration
def test_readiness_names_model_version_and_digest(server: Running, trainer: SimulatedTrainer) -> None:
    """What a rollout probes for."""
    version = server.client.post("/ingest", json=batch()).json()["model_version"]
    digest = trainer.models.manifest("default", version).forest.digest
    expected = [{"model": "default", "model_version": version, "digest": digest}]
    assert server.client.get("/health/ready").json()["models"] == expected
    health = server.client.get("/health").json()
    assert (health["status"], health["models"], health["problems"]) == ("ok", expected, [])


@pytest.mark.integration
def test_a_restarted_server_is_ready_when_its_defaults_are_loaded(
    database_url: str, objects: Path, trainer: SimulatedTrainer, until: Until
) -> None:
    """A default that cannot be loaded keeps it from being ready."""
    manifest = publish(trainer.models, "default", "20240115100000", stump_forest(("a",)))
    trainer.served.serve("default", manifest.version, f"sha256:{'c' * 64}")
    with running(database_url, objects) as server:
        reason = (
            f"model default: version {manifest.version} cannot be loaded: the artefact's digest is"
            f" {manifest.forest.digest}, and sha256:{'c' * 64} is to be served"
        )
        until(lambda: reason in server.client.get("/health/ready").json()["waiting_for"])
        assert server.client.get("/health/ready").status_code == 503
        assert server.client.get("/healthz").status_code == 200
    trainer.served.serve("default", manifest.version, manifest.forest.digest)
    with running(database_url, objects) as server:
        until(lambda: server.client.get("/health/ready").status_code == 200)


@pytest.mark.parametrize("pinned", [{}, {"artifact_digest": f"sha256:{'c' * 64}"}], ids=["any digest", "a digest"])
def test_a_pinned_version_that_there_is_not_is_never_ready_and_says_what_there_is(
    objects: Path, until: Until, pinned: dict[str, str]
) -> None:
    """Nothing of PostgreSQL, which is not asked, and the same with a digest and without."""
    publish(ModelStore(LocalObjectStore(objects)), "default", "20240115100000", stump_forest(("a",)))
    with running(None, objects, model="default", model_version="20240115100001", **pinned) as server:
        reason = (
            "model default: version 20240115100001 cannot be loaded: model 'default' has no version"
            " '20240115100001'; it has: 20240115100000"
        )
        until(lambda: bool(server.client.get("/health/ready").json()["waiting_for"] == [reason]))
        assert server.client.get("/health/ready").status_code == 503
        assert reason in server.client.get("/health").json()["problems"]


def test_without_postgres_it_lives_degraded_and_not_ready(tmp_path: Path, until: Until) -> None:
    """Health is 200 and says what is away; readiness says for what it waits."""
    with running(NOWHERE, tmp_path) as server:
        assert server.client.get("/healthz").json() == {"status": "alive"}
        database = ["PostgreSQL, to tell which versions are served"]
        until(lambda: bool(server.client.get("/health/ready").json()["waiting_for"] == database))
        assert server.client.get("/health/ready").status_code == 503
        health = server.client.get("/health")
        assert health.status_code == 200
        assert health.json()["status"] == "degraded"
        assert not health.json()["dependencies"]["postgres"]["ok"]
        until(lambda: bool(server.client.get("/health").json()["dependencies"]["object_store"]["ok"]))
        until(lambda: 'telltale_store_up{store="postgres"} 0.0' in server.client.get("/metrics").text)
