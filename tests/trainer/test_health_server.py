from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection

import pytest

from store.errors import StoreUnavailable
from trainer.health_server import HealthServer, ask
from trainer.metrics import TrainerMetrics, exposition
from trainer.vitals import Patience, Vitals


@dataclass
class Scene:
    """A worker's vitals on a clock that the test turns, and what answers for it."""

    now: float = 100.0
    jobs: dict[str, int] | None = field(default_factory=lambda: {"queued": 2, "training": 1, "failed": 3})
    asked: int = 0

    def __post_init__(self) -> None:
        self.vitals = Vitals(lambda: self.now, Patience(silence=8, start=300, attempt=3600))
        metrics = TrainerMetrics(self.vitals, self.count, lambda: self.now)
        self.server = HealthServer("127.0.0.1", 0, self.vitals, exposition(metrics))

    def count(self) -> dict[str, int]:
        self.asked += 1
        if self.jobs is None:
            raise StoreUnavailable("away")
        return self.jobs

    def get(self, path: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=5)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    scene.server.start()
    yield scene
    scene.server.stop()


def test_a_worker_is_well_as_long_as_its_loop_turns(scene: Scene) -> None:
    scene.vitals.tick()
    scene.now += 8
    assert scene.get("/healthz")[0] == 200
    scene.now += 1
    status, body = scene.get("/healthz")
    assert (status, json.loads(body)["detail"]) == (503, "the event loop has not turned for 9 s")
    assert ask("127.0.0.1", [scene.server.port]) == f"port {scene.server.port}: {body}"
    scene.vitals.tick()
    assert ask("127.0.0.1", [scene.server.port]) is None


def test_a_worker_that_starts_is_given_more_time(scene: Scene) -> None:
    scene.now += 300
    assert scene.get("/healthz")[0] == 200
    scene.now += 1
    assert scene.get("/healthz")[0] == 503


def test_an_attempt_that_takes_too_long_makes_ill_but_waiting_for_an_outage_does_not(scene: Scene) -> None:
    with scene.vitals.job(7, 1, "batch-1"):
        with scene.vitals.waiting():
            scene.now += 10_000
            scene.vitals.tick()
            assert scene.get("/healthz")[0] == 200
        scene.now += 3600
        scene.vitals.tick()
        status, body = scene.get("/healthz")
        assert (status, json.loads(body)["job"]) == (200, "batch-1")
        scene.now += 1
        scene.vitals.tick()
        status, body = scene.get("/healthz")
        assert status == 503
        assert "batch-1 has not ended within 3600 s" in body
        assert scene.vitals.stuck() is not None
    assert scene.get("/healthz")[0] == 200


def test_a_port_on_which_nothing_answers_is_said(scene: Scene) -> None:
    scene.server.stop()
    assert (ask("127.0.0.1", [scene.server.port]) or "").startswith("nothing answers on port")
    scene.server = HealthServer("127.0.0.1", 0, scene.vitals, lambda: b"")
    scene.server.start()


def test_metrics_tell_what_was_done_and_what_waits(scene: Scene) -> None:
    scene.vitals.tick()
    with scene.vitals.training():
        scene.now += 7
    scene.vitals.count("failed")
    status, text = scene.get("/metrics")
    assert status == 200
    for line in (
        'telltale_trainer_jobs{state="failed"} 3.0',
        'telltale_trainer_attempts_total{outcome="trained"} 1.0',
        'telltale_trainer_attempts_total{outcome="failed"} 1.0',
        'telltale_trainer_training_seconds_bucket{le="5.0"} 0.0',
        'telltale_trainer_training_seconds_bucket{le="10.0"} 1.0',
        "telltale_trainer_training_seconds_sum 7.0",
        "telltale_trainer_silence_seconds 7.0",
        "telltale_trainer_busy 0.0",
    ):
        assert line in text.splitlines()


def test_the_database_is_asked_seldom_and_its_outage_leaves_the_other_metrics(scene: Scene) -> None:
    scene.get("/metrics")
    scene.get("/metrics")
    assert scene.asked == 1
    scene.jobs = None
    scene.now += 3
    status, text = scene.get("/metrics")
    assert status == 200
    assert "telltale_trainer_jobs{" not in text
    assert "telltale_trainer_busy 0.0" in text


def test_other_paths_are_not_found(scene: Scene) -> None:
    assert scene.get("/")[0] == 404
