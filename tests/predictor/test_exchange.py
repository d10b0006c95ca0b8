"""The exchange that the README promises, on a server just started."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from contract.version_ids import parse_version_id
from tests.predictor.running import Running

pytestmark = pytest.mark.integration


def test_a_first_record_trains_a_model_that_scores_the_next(server: Running) -> None:
    """The issue's two requests, to the letter."""
    body = {
        "records": [
            {"vehicle_id": "VH-001", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [0.5, 0.3, 0.8, 1.2]}
        ]
    }
    ingested = server.client.post("/ingest", json=body)
    answer = ingested.json()
    version = answer["model_version"]

    assert ingested.status_code == 201
    assert list(answer)[:2] == ["model_version", "record_count"]
    assert abs(parse_version_id(version) - datetime.now(UTC)) < timedelta(minutes=1)
    assert (answer["record_count"], answer["model"], answer["served"]) == (1, "default", True)
    assert "one record makes a poor model" in answer["warnings"][0]

    record = {"vehicle_id": "VH-002", "timestamp": "2024-01-15T10:05:00Z", "feature_vector": [0.7, 0.2, 0.9, 0.5]}
    scored = server.client.post("/score", json=record)

    assert scored.status_code == 200
    assert list(scored.json()) == ["vehicle_id", "anomaly_score", "is_anomaly", "model_version"]
    assert scored.json()["vehicle_id"] == "VH-002"
    assert scored.json()["model_version"] == version
    assert scored.json()["is_anomaly"] is (scored.json()["anomaly_score"] < 0)
