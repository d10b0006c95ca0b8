"""The main job as a client sees it: ingest, train, register, score, roll back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pytest
from mlflow import MlflowClient

from benchmarks.server import Server
from contract.names import CANDIDATE_ALIAS, CHAMPION_ALIAS, TAG_GATE, TAG_VERSION
from standalone.data_folder import DataFolder
from store.migrate import sqlalchemy_url

pytestmark = pytest.mark.e2e


def records(n: int, *, seed: int = 0, features: int = 4) -> list[dict[str, Any]]:
    X = np.random.default_rng(seed).normal(size=(n, features))
    return [
        {"vehicle_id": f"VH-{i:05}", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": row.tolist()}
        for i, row in enumerate(X)
    ]


def eventually(holds: Callable[[], bool], *, within: float) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def mlflow_of(server: Server) -> MlflowClient:
    instance = DataFolder(server.data).instance()
    assert instance is not None
    uri = sqlalchemy_url(instance.database_url)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def test_the_exchange_of_the_readme_works_to_the_letter(server: Server) -> None:
    before = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    answer = httpx.post(
        f"{server.url}/ingest",
        json={
            "records": [
                {
                    "vehicle_id": "VH-001",
                    "timestamp": "2024-01-15T10:00:00Z",
                    "feature_vector": [0.5, 0.3, 0.8, 1.2],
                }
            ]
        },
        timeout=60,
    )
    assert answer.status_code == 201
    body = answer.json()
    assert list(body)[:2] == ["model_version", "record_count"]
    assert (body["record_count"], body["model"], body["served"]) == (1, "default", True)
    assert before <= body["model_version"] <= datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    assert any("poor model" in warning for warning in body["warnings"])

    score = httpx.post(
        f"{server.url}/score",
        json={"vehicle_id": "VH-002", "timestamp": "2024-01-15T10:05:00Z", "feature_vector": [0.7, 0.2, 0.9, 0.5]},
    )
    assert score.status_code == 200
    assert list(score.json()) == ["vehicle_id", "anomaly_score", "is_anomaly", "model_version"]
    assert score.json()["vehicle_id"] == "VH-002"
    assert score.json()["model_version"] == body["model_version"]
    assert isinstance(score.json()["anomaly_score"], float)
    assert isinstance(score.json()["is_anomaly"], bool)


def test_a_batch_with_other_features_is_refused_naming_both(server: Server) -> None:
    url = f"{server.url}/ingest"
    assert httpx.post(url, json={"model": "narrow", "records": records(30)}, timeout=60).status_code == 201
    refused = httpx.post(url, json={"model": "narrow", "records": records(30, features=3)}, timeout=60)
    assert refused.status_code == 422
    assert re.search(r"4 .*f0, f1, f2, f3.*3", refused.text)


def test_two_ingests_at_once_make_two_versions_that_both_answer(server: Server) -> None:
    def ingest(seed: int) -> str:
        body = {"model": "twins", "records": records(30, seed=seed)}
        answer = httpx.post(f"{server.url}/ingest", json=body, timeout=60)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["model_version"])

    with ThreadPoolExecutor(2) as pool:
        versions = list(pool.map(ingest, (1, 2)))
    assert len(set(versions)) == 2
    for version in versions:
        record = records(1)[0] | {"model": "twins", "model_version": version}
        assert httpx.post(f"{server.url}/score", json=record).json()["model_version"] == version


def test_the_same_key_twice_trains_once_and_answers_the_same(server: Server) -> None:
    body = {"model": "keyed", "records": records(30)}
    headers = {"Idempotency-Key": "once"}
    first = httpx.post(f"{server.url}/ingest", json=body, headers=headers, timeout=60)
    again = httpx.post(f"{server.url}/ingest", json=body, headers=headers, timeout=60)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert len(httpx.get(f"{server.url}/models/keyed/versions").json()["versions"]) == 1
    other = httpx.post(f"{server.url}/ingest", json=body | {"model": "other"}, headers=headers, timeout=60)
    assert other.status_code == 422


def test_ten_thousand_records_are_trained_and_served_within_the_wait(server: Server) -> None:
    body = {"model": "large", "records": records(10_000, features=8)}
    answer = httpx.post(f"{server.url}/ingest", json=body, timeout=60)
    assert (answer.status_code, answer.json()["served"]) == (201, True)


def test_a_larger_batch_is_answered_at_once_and_its_job_tells_the_rest(server: Server) -> None:
    body = {"model": "larger", "records": records(10_001, features=2)}
    answer = httpx.post(f"{server.url}/ingest", json=body, timeout=60)
    assert answer.status_code == 202
    job = f"{server.url}{answer.headers['Location']}"
    assert eventually(lambda: bool(httpx.get(job).json()["served"]), within=60)
    assert httpx.get(job).json()["state"] == "done"


def test_versions_are_in_mlflow_with_their_run_gate_and_aliases(server: Server) -> None:
    answer = httpx.post(f"{server.url}/ingest", json={"model": "tracked", "records": records(200)}, timeout=60).json()
    client = mlflow_of(server)
    version = client.get_model_version_by_alias("tracked", CHAMPION_ALIAS)
    assert version.tags[TAG_VERSION] == answer["model_version"]
    assert version.tags[TAG_GATE] == "passed"
    assert client.get_model_version_by_alias("tracked", CANDIDATE_ALIAS).version == version.version
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["training_flag_rate"] == pytest.approx(0.05)
    assert "holdout_flag_rate" in run.data.metrics
    assert {file.path for file in client.list_artifacts(run.info.run_id, "plots")} == {
        "plots/score_histogram.png",
        "plots/flagged_over_time.png",
        "plots/feature_ranges.png",
    }


def test_a_person_who_moves_champion_is_followed(server: Server) -> None:
    url = f"{server.url}/ingest"
    first, second = (
        httpx.post(url, json={"model": "moved", "records": records(30, seed=seed)}, timeout=60).json()["model_version"]
        for seed in (1, 2)
    )

    def default() -> str:
        record = records(1)[0] | {"model": "moved"}
        return str(httpx.post(f"{server.url}/score", json=record).json()["model_version"])

    assert default() == second
    client = mlflow_of(server)
    client.set_registered_model_alias("moved", CHAMPION_ALIAS, "1")
    assert eventually(lambda: default() == first, within=30)


def test_a_refused_request_leaves_no_trace(server: Server) -> None:
    bad = records(3)
    bad[2]["feature_vector"][1] = "warm"
    refused = httpx.post(f"{server.url}/ingest", json={"model": "untouched", "records": bad}, timeout=60)
    assert refused.status_code == 422
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["errors"][0]["pointer"] == "/records/2/feature_vector/1"
    assert httpx.get(f"{server.url}/models/untouched/versions").status_code == 404
