"""Idempotency keys: trained once, answered the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from contract.columns import signature_of, to_batch
from contract.digests import digest_of
from contract.telemetry import Limits, decode_ingest
from store.ingest_log import IdempotencyKey
from store.parquet import encode_batch
from tests.predictor.records import batch
from tests.predictor.running import Running
from tests.predictor.simulated_trainer import SimulatedTrainer, now

pytestmark = pytest.mark.integration

Until = Callable[[Callable[[], bool]], None]
KEY = {"Idempotency-Key": "night run 2024-01-15"}


@pytest.mark.parametrize("order", ["serve", "refuse", "fail"])
def test_the_same_key_and_body_get_the_same_answer(server: Running, trainer: SimulatedTrainer, order: str) -> None:
    """Byte for byte, whatever the first answer was, and one batch."""
    trainer.order = order  # type: ignore[assignment]  # parametrize knows strings only
    first = server.client.post("/ingest", json=batch(), headers=KEY)
    again = server.client.post("/ingest", json=batch(), headers=KEY)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert trainer.count() == 1


def test_an_asynchronous_answer_is_repeated_with_its_location(server: Running, trainer: SimulatedTrainer) -> None:
    """202 stays 202, also when the training is done by then."""
    headers = KEY | {"Prefer": "respond-async"}
    first = server.client.post("/ingest", json=batch(), headers=headers)
    again = server.client.post("/ingest", json=batch(), headers=headers)
    assert (again.status_code, again.content) == (202, first.content)
    for name in ("location", "preference-applied", "retry-after"):
        assert again.headers[name] == first.headers[name]
    assert trainer.count() == 1


def test_another_body_with_the_key_is_refused(server: Running, trainer: SimulatedTrainer) -> None:
    """422, and nothing is trained."""
    server.client.post("/ingest", json=batch(), headers=KEY)
    other = server.client.post("/ingest", json=batch(2), headers=KEY)
    assert other.status_code == 422
    assert other.json()["type"] == "urn:telltale:problem:idempotency-key-reused"
    assert trainer.count() == 1


def test_the_key_is_busy_while_its_first_request_runs(server: Running, trainer: SimulatedTrainer, until: Until) -> None:
    """409 with Retry-After for the same body, 422 for another; then the first answer for all."""
    trainer.order = "hold"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.client.post, "/ingest", json=batch(), headers=KEY)
        until(lambda: trainer.count() == 1)
        busy = server.client.post("/ingest", json=batch(), headers=KEY)
        assert (busy.status_code, busy.headers["retry-after"]) == (409, "1")
        assert busy.json()["type"] == "urn:telltale:problem:idempotency-key-busy"
        assert server.client.post("/ingest", json=batch(2), headers=KEY).status_code == 422
        trainer.order = "serve"
        answer = first.result()
    assert answer.status_code == 201
    assert server.client.post("/ingest", json=batch(), headers=KEY).content == answer.content


def test_a_refused_request_leaves_its_key_free(server: Running) -> None:
    """Only an accepted batch takes the key."""
    assert server.client.post("/ingest", json={"records": []}, headers=KEY).status_code == 422
    assert server.client.post("/ingest", json=batch(), headers=KEY).status_code == 201


def test_a_key_whose_first_request_was_cut_off_is_answered_from_its_batch(
    server: Running, trainer: SimulatedTrainer, until: Until
) -> None:
    """409 until the batch is settled, then the answer that the first would have got; one batch in all."""
    trainer.order = "hold"
    body = json.dumps(batch()).encode()
    request = decode_ingest(body, now=now(), limits=Limits())
    names = signature_of(request.records[0], Limits())
    key = IdempotencyKey(KEY["Idempotency-Key"], digest_of(body))
    row = trainer.log.accept(encode_batch(to_batch(request, names)), now=now(), warnings=[], key=key)

    headers = KEY | {"Content-Type": "application/json"}
    assert server.client.post("/ingest", content=body, headers=headers).status_code == 409
    trainer.order = "serve"
    until(lambda: trainer.log.get(row.id).settled)
    answer = server.client.post("/ingest", content=body, headers=headers)
    assert (answer.status_code, answer.json()["job"], answer.json()["served"]) == (201, row.id, True)
    assert server.client.post("/ingest", content=body, headers=headers).content == answer.content
    assert trainer.count() == 1
