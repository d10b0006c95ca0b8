"""A predictor whose object store is a bucket: what a client sees of it, and of its outages."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from store.object_url import open_objects
from tests.predictor.records import batch, record
from tests.predictor.running import Running, running
from tests.predictor.simulated_trainer import SimulatedTrainer
from tests.store.s3_proxy import Fault, S3Proxy, s3_proxy

if TYPE_CHECKING:
    from tests.seaweed import Seaweed

pytestmark = pytest.mark.integration

Until = Callable[[Callable[[], bool]], None]
_numbers = itertools.count(1)


@pytest.fixture
def proxy(s3_server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    """Stands between everything and the server."""
    with s3_proxy(s3_server.port) as running_proxy:
        for name, value in (s3_server.environment() | {"AWS_ENDPOINT_URL_S3": running_proxy.url}).items():
            monkeypatch.setenv(name, value)
        yield running_proxy


@pytest.fixture
def url(s3_server: Seaweed, proxy: S3Proxy) -> str:  # noqa: ARG001 - it is in the environment
    """The object store."""
    return f"s3://{s3_server.make_bucket(f'predictor-{next(_numbers)}')}/fleet/eu"


@pytest.fixture
def trainer(database_url: str, url: str) -> Iterator[SimulatedTrainer]:
    simulated = SimulatedTrainer(database_url, open_objects(url))
    simulated.start()
    yield simulated
    simulated.stop()


@pytest.fixture
def server(database_url: str, url: str, trainer: SimulatedTrainer) -> Iterator[Running]:  # noqa: ARG001 - trains
    with running(database_url, url, ingest_wait_seconds=10) as started:
        yield started


def test_a_batch_is_kept_trained_served_and_listed(server: Running) -> None:
    accepted = server.client.post("/ingest", json=batch(30))
    assert (accepted.status_code, accepted.json()["served"]) == (201, True)
    version = accepted.json()["model_version"]
    assert server.client.post("/score", json=record()).json()["model_version"] == version
    (model,) = server.client.get("/models").json()["models"]
    assert (model["model"], model["newest_version"]) == ("default", version)
    (listed,) = server.client.get("/models/default/versions").json()["versions"]
    assert listed["model_version"] == version
    assert server.client.get("/health").json()["dependencies"]["object_store"]["ok"] is True


def test_while_the_bucket_is_away_scores_go_on_and_batches_are_refused_with_a_time_to_come_back(
    server: Running, proxy: S3Proxy
) -> None:
    server.client.post("/ingest", json=batch(30))
    proxy.expect("PUT", Fault.BUSY, times=1000)
    began = time.monotonic()
    refused = server.client.post("/ingest", json=batch(30))
    assert time.monotonic() - began < 20
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert server.client.post("/score", json=record()).status_code == 200
    proxy.forget()
    assert server.client.post("/ingest", json=batch(30)).status_code == 201


def test_a_bucket_that_is_slow_to_take_a_batch_uses_up_the_wait_for_its_training(
    database_url: str, url: str, trainer: SimulatedTrainer, proxy: S3Proxy
) -> None:
    trainer.order = "hold"
    never = threading.Event()
    proxy.meanwhile = lambda method: method == "PUT" and never.wait(3)
    with running(database_url, url, ingest_wait_seconds=3) as server:
        began = time.monotonic()
        assert server.client.post("/ingest", json=batch(30)).status_code == 202
        assert time.monotonic() - began < 5.5
