"""Batches: what an ingest answers in each of its ends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.predictor.records import batch, record
from tests.predictor.running import Running, running
from tests.predictor.simulated_trainer import SimulatedTrainer

pytestmark = pytest.mark.integration

Until = Callable[[Callable[[], bool]], None]
ASYNC = {"Prefer": "respond-async"}


def test_a_batch_of_enough_records_has_no_warning(server: Running) -> None:
    """Twenty records can be evaluated."""
    assert server.client.post("/ingest", json=batch(20)).json()["warnings"] == []


def test_a_small_later_batch_says_that_earlier_ones_count_too(server: Running) -> None:
    """The window may hold more than this batch."""
    server.client.post("/ingest", json=batch(30))
    warnings = server.client.post("/ingest", json=batch(3)).json()["warnings"]
    assert "unless the model's earlier batches bring it to 20" in warnings[0]


def test_a_refused_version_is_answered_as_trained_and_not_served(server: Running, trainer: SimulatedTrainer) -> None:
    """201 with the gate's reason; the model has a version and no default."""
    trainer.order = "refuse"
    answer = server.client.post("/ingest", json=batch())
    assert answer.status_code == 201
    assert answer.json()["served"] is False
    assert "ordered: refuse" in answer.json()["reason"]
    scored = server.client.post("/score", json=record())
    assert scored.status_code == 404
    assert f"name one in model_version: {answer.json()['model_version']}" in scored.json()["detail"]


def test_a_failed_training_is_a_problem_that_names_the_job(server: Running, trainer: SimulatedTrainer) -> None:
    """500, and the job's page says the same."""
    trainer.order = "fail"
    answer = server.client.post("/ingest", json=batch())
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:telltale:problem:training-failed"
    assert "the rows are cursed" in answer.json()["detail"]
    job = server.client.get(answer.json()["instance"]).json()
    assert (job["state"], job["error"]) == ("failed", "the rows are cursed")


def test_a_client_that_prefers_so_is_answered_before_the_training(
    server: Running, trainer: SimulatedTrainer, until: Until
) -> None:
    """202 with Location; the job's page follows it to the end."""
    trainer.order = "hold"
    answer = server.client.post("/ingest", json=batch(), headers={"Prefer": "handling=strict, respond-async; x=1"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    assert answer.json()["state"] == "queued"
    job = answer.headers["location"]
    assert job == f"/ingest/{answer.json()['job']}"
    assert server.client.get(job).json()["state"] == "queued"
    assert server.client.get(job).headers["retry-after"] == "1"
    trainer.order = "serve"
    # It may be served before its verdict is recorded.
    until(lambda: all(server.client.get(job).json()[end] for end in ("served", "gate")))
    done = server.client.get(job).json()
    assert (done["state"], done["gate"], done["error"]) == ("done", "passed", None)
    assert done["model_version"] == answer.json()["model_version"]


def test_a_batch_above_the_synchronous_size_is_answered_202(server: Running) -> None:
    """More than 10,000 records train too long to wait for."""
    answer = server.client.post("/ingest", json=batch(10_001))
    assert answer.status_code == 202
    assert answer.json()["record_count"] == 10_001
    assert "preference-applied" not in answer.headers


def test_ten_thousand_records_are_answered_201(server: Running) -> None:
    """The largest batch that is waited for."""
    answer = server.client.post("/ingest", json=batch(10_000))
    assert (answer.status_code, answer.json()["record_count"]) == (201, 10_000)


def test_a_wait_that_runs_out_is_answered_202(database_url: str, objects: Path, trainer: SimulatedTrainer) -> None:
    """The training goes on; nothing is lost."""
    trainer.order = "hold"
    with running(database_url, objects, ingest_wait_seconds=0.2) as server:
        answer = server.client.post("/ingest", json=batch())
        assert answer.status_code == 202
        assert server.client.get(answer.headers["location"]).json()["state"] == "queued"


def test_a_version_that_nobody_makes_the_default_is_answered_not_served(
    database_url: str, objects: Path, trainer: SimulatedTrainer, until: Until
) -> None:
    """The gate passed it, and the default stays what it was."""
    trainer.order = "hold"
    with running(database_url, objects, serve_wait_seconds=0.2) as server, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.client.post, "/ingest", json=batch())
        until(lambda: bool(trainer.queued()))
        (batch_id,) = trainer.queued()
        trainer.train(trainer.log.get(batch_id), "refuse")
        trainer.log.record_gate(batch_id, "passed", "equal")
        answer = waiting.result()
        # Between the two verdicts the first may have been read.
        assert (answer.status_code, answer.json()["served"]) == (201, False)


def test_a_server_that_stops_answers_those_who_wait(server: Running, trainer: SimulatedTrainer, until: Until) -> None:
    """202 for what is not trained; the batch stays queued for the next start."""
    trainer.order = "hold"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.client.post, "/ingest", json=batch())
        until(lambda: trainer.count() == 1)
        server.server.stop()
        answer = waiting.result()
    assert answer.status_code == 202
    assert trainer.queued() == [answer.json()["job"]]


def test_a_client_that_goes_away_does_not_cancel_the_training(
    server: Running, trainer: SimulatedTrainer, until: Until
) -> None:
    """The batch is trained and served although nobody waits for it."""
    trainer.order = "hold"
    body = b'{"records": [{"vehicle_id": "v", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [1]}]}'
    head = f"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
        until(lambda: trainer.count() == 1)
    trainer.order = "serve"
    until(lambda: server.client.get("/models").json()["models"] != [])
    until(lambda: server.predictor.loaded.default("default") is not None)


def test_two_ingests_at_once_make_two_versions(server: Running) -> None:
    """Each batch is the cause of one version; the later one is the default in the end."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: server.client.post("/ingest", json=batch(i)).json(), range(1, 9)))
    versions = sorted(answer["model_version"] for answer in answers)
    assert len(set(versions)) == 8
    scored = server.client.post("/score", json=record()).json()
    assert scored["model_version"] == versions[-1]
    assert all(answer["served"] or "later batch" in answer["reason"] for answer in answers)


def test_a_full_disk_is_503_and_recovers(server: Running, objects: Path, trainer: SimulatedTrainer) -> None:
    """The store's failure is told with Retry-After, nothing is accepted, and the next try succeeds."""
    (objects / "batches").write_text("in the way")  # as root, a folder without permissions would not stop us
    answer = server.client.post("/ingest", json=batch())
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:telltale:problem:store-unavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert trainer.count() == 0
    (objects / "batches").unlink()
    assert server.client.post("/ingest", json=batch()).status_code == 201


def test_postgres_gone_is_503_and_recovers_while_scoring_goes_on(
    server: Running, postgres_server: object, database_url: str, until: Until
) -> None:
    """/score needs no PostgreSQL; /ingest says when to try again, and works as soon as it is back."""
    version = server.client.post("/ingest", json=batch()).json()["model_version"]
    name = database_url.rpartition("/")[2]
    admin_url: str = postgres_server.url  # type: ignore[attr-defined]  # the fixture's class is standalone's own
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        answer = server.client.post("/ingest", json=batch())
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert server.client.post("/score", json=record()).json()["model_version"] == version
        assert server.client.get("/health/ready").status_code == 200
        until(lambda: not server.client.get("/health").json()["dependencies"]["postgres"]["ok"])
        assert server.client.get("/health").json()["status"] == "degraded"
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    until(lambda: server.client.post("/ingest", json=batch()).status_code == 201)
    until(lambda: server.client.get("/health").json()["status"] == "ok")
