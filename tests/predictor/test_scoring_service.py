"""Scoring: order, versions, forms of features, and the metrics of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from scoring.reference import decision_function
from tests.predictor.forests import publish, stump_forest
from tests.predictor.records import batch, record
from tests.predictor.running import Running
from tests.predictor.simulated_trainer import SimulatedTrainer

pytestmark = pytest.mark.integration

Until = Callable[[Callable[[], bool]], None]
ANOMALOUS = [7.0, 0.0, 0.0, 0.0]


def test_an_array_is_answered_in_order(server: Running) -> None:
    """Each record by its own model, in the request's order, by the reference's numbers."""
    server.client.post("/ingest", json=batch())
    named = {"model": "named", "records": [record(feature_vector=None, features={"a": 1.0, "b": 2.0})]}
    server.client.post("/ingest", json=named)
    body = [
        record(vehicle_id="1", feature_vector=ANOMALOUS),
        record(vehicle_id="2", model="named", feature_vector=None, features={"b": 0.0, "a": 9.0}),
        record(vehicle_id="3"),
        record(vehicle_id="4", model="named", feature_vector=[0.0, 9.0]),
    ]
    answer = server.client.post("/score", json=body).json()
    assert [one["vehicle_id"] for one in answer] == ["1", "2", "3", "4"]
    assert [one["is_anomaly"] for one in answer] == [True, True, False, False]
    expected = decision_function(stump_forest(("a", "b")), np.array([[9.0, 0.0], [0.0, 9.0]]))
    assert [answer[1]["anomaly_score"], answer[3]["anomaly_score"]] == expected.tolist()


def test_a_version_is_answered_by_name(server: Running, trainer: SimulatedTrainer) -> None:
    """An older version, although a newer is the default."""
    older = server.client.post("/ingest", json=batch()).json()["model_version"]
    newer = server.client.post("/ingest", json=batch()).json()["model_version"]
    answer = server.client.post("/score", json=[record(), record(model_version=older)]).json()
    assert [one["model_version"] for one in answer] == [newer, older]
    versions = server.client.get("/models/default/versions").json()["versions"]
    assert [(one["model_version"], one["is_default"]) for one in versions] == [(newer, True), (older, False)]
    assert trainer.models.versions("default") == [older, newer]


def test_one_record_in_an_array_is_answered_by_an_array(server: Running) -> None:
    """The answer has the request's form."""
    server.client.post("/ingest", json=batch())
    assert len(server.client.post("/score", json=[record()]).json()) == 1
    assert isinstance(server.client.post("/score", json=record()).json(), dict)


def test_a_large_array_is_scored_whole(server: Running) -> None:
    """As many answers as records, by the thread that large requests go to."""
    server.client.post("/ingest", json=batch())
    body = json.dumps([record(vehicle_id=str(i), feature_vector=[float(i % 3), 0, 0, 0]) for i in range(20_000)])
    answer = server.client.post("/score", content=body, headers={"Content-Type": "application/json"}).json()
    assert [one["vehicle_id"] for one in answer] == [str(i) for i in range(20_000)]
    assert [one["is_anomaly"] for one in answer[:3]] == [False, False, True]


def test_the_metrics_tell_what_was_scored(server: Running) -> None:
    """Records, flags and scores by model version; requests by route template."""
    version = server.client.post("/ingest", json=batch()).json()["model_version"]
    server.client.post("/score", json=[record(), record(feature_vector=ANOMALOUS)])
    server.client.get("/ingest/nothing")
    text = server.client.get("/metrics").text
    labels = f'{{model="default",model_version="{version}"}}'
    assert f"telltale_scored_records_total{labels} 2.0" in text
    assert f"telltale_flagged_records_total{labels} 1.0" in text
    assert f'telltale_anomaly_score_bucket{{le="+Inf",model="default",model_version="{version}"}} 2.0' in text
    assert f'telltale_anomaly_score_bucket{{le="0.0",model="default",model_version="{version}"}} 1.0' in text
    assert 'telltale_http_requests_total{method="POST",route="/score",status="200"} 1.0' in text
    assert 'telltale_http_errors_total{route="/ingest/{job}",status="404"} 1.0' in text
    assert 'telltale_store_up{store="postgres"} 1.0' in text
    assert "telltale_training_queue_depth 1.0" in text
    assert server.client.get("/metrics/prometheus").status_code == 200


def test_a_moved_default_is_followed(server: Running, trainer: SimulatedTrainer, until: Until) -> None:
    """Also back: the rollback of a person who moves the champion."""
    older = server.client.post("/ingest", json=batch()).json()["model_version"]
    server.client.post("/ingest", json=batch())
    digest = trainer.models.manifest("default", older).forest.digest
    trainer.served.serve("default", older, digest)
    until(lambda: server.client.post("/score", json=record()).json()["model_version"] == older)


def test_a_damaged_default_is_seen_in_the_health_and_the_old_one_answers(
    server: Running, trainer: SimulatedTrainer, until: Until
) -> None:
    """The old version goes on; a person finds out why."""
    version = server.client.post("/ingest", json=batch()).json()["model_version"]
    damaged = "29990101000000"
    manifest = publish(trainer.models, "default", damaged, stump_forest(("f0", "f1", "f2", "f3"), threshold=2.0))
    trainer.served.serve("default", damaged, f"sha256:{'b' * 64}")
    until(lambda: server.client.get("/health").json()["status"] == "degraded")
    assert f"version {damaged} cannot be loaded" in server.client.get("/health").json()["problems"][0]
    assert server.client.post("/score", json=record()).json()["model_version"] == version
    assert server.client.get("/health/ready").status_code == 200
    assert 'telltale_model_load_failing{model="default"} 1.0' in server.client.get("/metrics").text
    trainer.served.serve("default", damaged, manifest.forest.digest)
    assert trainer.models.has("default", damaged)
