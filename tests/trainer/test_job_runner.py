from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from store.attempts import Attempts
from store.errors import StoreUnavailable
from store.ingest_log import BatchRow, IngestLog
from store.local_objects import LocalObjectStore
from store.postgres import Postgres
from store.queue import TrainingQueue
from tests.store.test_ingest_log import NOW, stored
from trainer.errors import AttemptRunning, Faulted, HandedBack, TrackingUnavailable, UntrainableBatch
from trainer.job_runner import JobRunner
from trainer.vitals import Patience, Vitals

pytestmark = pytest.mark.integration


class Script:
    """Stands for a training: raises what it is told to, one after the other, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.called = threading.Event()

    def train(self, batch_id: str) -> None:
        assert batch_id
        self.calls += 1
        self.called.set()
        if self.errors:
            raise self.errors.pop(0)


class Scene:
    """A batch, and workers that are given it."""

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        self.postgres = postgres
        self.log = IngestLog(postgres, LocalObjectStore(folder), TrainingQueue(postgres))
        self.row: BatchRow = self.log.accept(stored(), now=NOW, warnings=[])
        self.vitals = Vitals(lambda: 0.0, Patience(8, 300, 3600))

    def worker(self, script: Script, name: str = "host:1", **more: Any) -> JobRunner:
        return JobRunner(script, Attempts(self.postgres, name), self.vitals, **{"max_attempts": 3, **more})

    @property
    def state(self) -> str:
        return self.log.get(self.row.id).state


@pytest.fixture
def scene(database_url: str, tmp_path: Path) -> Iterator[Scene]:
    postgres = Postgres(database_url, wait_seconds=0.5)
    postgres.open()
    yield Scene(postgres, tmp_path)
    postgres.close()


def test_a_batch_has_so_many_faults_however_many_workers_share_them_or_start_anew(scene: Scene) -> None:
    for name, faults in (("host:1", 1), ("host:2", 2)):
        with pytest.raises(Faulted) as caught:
            scene.worker(Script(ValueError("no")), name).run(scene.row.id)
        assert caught.value.faults == faults
        assert scene.state == "queued"
    scene.worker(Script(ValueError("no, really")), "host:3").run(scene.row.id)
    failed = scene.log.get(scene.row.id)
    assert (failed.state, failed.error) == ("failed", "ValueError: no, really")
    assert scene.vitals.outcomes == {"trained": 0, "fault": 2, "failed": 1, "outage": 0, "handed_back": 0}


def test_a_batch_that_has_failed_is_not_begun_again_by_a_job_that_was_left(scene: Scene) -> None:
    scene.worker(Script(UntrainableBatch("gone"))).run(scene.row.id)
    assert scene.state == "failed"
    script = Script()
    scene.worker(script).run(scene.row.id)
    assert script.calls == 0


def test_an_outage_is_waited_out_and_is_no_fault(scene: Scene) -> None:
    script = Script(TrackingUnavailable("MLflow is away"))
    scene.worker(script, max_attempts=1).run(scene.row.id)
    assert script.calls == 2
    assert scene.vitals.outcomes["outage"] == scene.vitals.outcomes["trained"] == 1
    with scene.postgres.transaction() as connection:
        query = "SELECT attempts, faults, setback FROM batches"
        assert connection.execute(query).fetchone() == (1, 0, "waits: MLflow is away")


def test_a_worker_that_is_to_stop_begins_nothing(scene: Scene) -> None:
    script = Script()
    runner = scene.worker(script)
    runner.may_begin = False
    with pytest.raises(HandedBack):
        runner.run(scene.row.id)
    assert (script.calls, scene.state) == (0, "queued")


def test_a_worker_that_is_to_stop_waits_for_no_outage_and_hands_its_job_back(scene: Scene) -> None:
    script = Script(*[StoreUnavailable("away")] * 50)
    runner = scene.worker(script)
    ended: list[Exception] = []
    thread = threading.Thread(target=lambda: _catch(lambda: runner.run(scene.row.id), ended))
    thread.start()
    assert script.called.wait(20)
    runner.stop()
    thread.join(20)
    assert [type(error) for error in ended] == [HandedBack]
    assert scene.state == "queued"


def test_another_workers_attempt_is_not_held_against_the_batch(scene: Scene) -> None:
    with pytest.raises(AttemptRunning):
        scene.worker(Script(AttemptRunning("host:2 is at it")), max_attempts=1).run(scene.row.id)
    assert scene.state == "training"


def test_a_fault_that_cannot_be_written_down_leads_to_another_attempt(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("PostgreSQL does not answer")

    monkeypatch.setattr(Attempts, "fault", away)
    with pytest.raises(StoreUnavailable):
        scene.worker(Script(ValueError("no")), max_attempts=1).run(scene.row.id)
    assert scene.state == "training"


def test_a_batch_that_another_attempt_has_settled_is_left_as_it_is(scene: Scene) -> None:
    class Overtaken(Script):
        def train(self, batch_id: str) -> None:
            scene.log.finish_training(batch_id)
            super().train(batch_id)

    scene.worker(Overtaken(ValueError("too late")), max_attempts=1).run(scene.row.id)
    assert scene.state == "done"


def _catch(call: Callable[[], None], ended: list[Exception]) -> None:
    try:
        call()
    except HandedBack as error:
        ended.append(error)
