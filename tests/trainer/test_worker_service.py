"""Workers as a service: several on one queue, stopped, killed, hung and given batches that do harm."""

from __future__ import annotations

import itertools
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from contract.names import TAG_VERSION
from store.ingest_log import BatchRow
from store.jobs import Job, Jobs
from store.queue import TrainingQueue
from tests.trainer.conftest import MLFLOW_WARNINGS, Bench, random_batch
from tests.trainer.processes import DEADLY, FAULTY, HANGING, LONG, Process, poison, wait_until

pytestmark = [pytest.mark.integration, *MLFLOW_WARNINGS]
Start = Callable[..., Process]

# So that tests need not wait for as long as operators may.
QUICK = {"heartbeat_seconds": 0.3, "lost_after_seconds": 1.5}


def job_of(bench: Bench, row: BatchRow) -> Job:
    (job,) = Jobs(bench.postgres, TrainingQueue(bench.postgres)).starting_with(row.id)
    return job


def is_done(bench: Bench, *rows: BatchRow) -> bool:
    return all(bench.log.get(row.id).state == "done" for row in rows)


def is_training(bench: Bench, row: BatchRow) -> bool:
    """Whether a worker fits the batch's forest: past what it has to read first."""
    return bench.log.get(row.id).state == "training"


def worker_name(process: Process) -> str:
    return f"{socket.gethostname()}:{process.popen.pid}"


def when(moment: datetime | None) -> datetime:
    assert moment is not None
    return moment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_workers_share_the_models_and_train_each_models_batches_in_order(bench: Bench, start: Start) -> None:
    port = free_port()
    workers = [start(), start(trainer_metrics_port=port)]
    for worker in workers:
        worker.wait_ready()
    rows = {
        model: [bench.accept(random_batch(20, seed=seed, model=model), after=seed) for seed in range(3)]
        for model in ("a", "b")
    }
    candidates: list[str] = []

    def are_done() -> bool:
        if any(bench.log.get(row.id).state == "done" for row in rows["a"]):
            candidates.append(bench.candidate("a").tags[TAG_VERSION])
        return is_done(bench, *rows["a"], *rows["b"])

    wait_until(are_done, 150)
    assert candidates == sorted(candidates)
    for of_model in rows.values():
        bench.assert_trained_once(of_model)
        assert bench.candidate(of_model[0].model).tags[TAG_VERSION] == of_model[-1].version
        records = [bench.models.manifest(row.model, row.version).training_records for row in of_model]
        assert records == [20, 40, 60]
        jobs = [job_of(bench, row) for row in of_model]
        assert all(when(one.finished_at) <= when(two.started_at) for one, two in itertools.pairwise(jobs))
        assert [job.attempts for job in jobs] == [1] * 3
    trained_by = {job_of(bench, row).worker for row in (*rows["a"], *rows["b"])}
    assert trained_by == {worker_name(worker) for worker in workers}
    _assert_tells_of_itself(workers[1], port, start)


def _assert_tells_of_itself(worker: Process, port: int, start: Start) -> None:
    """It is well, counts what it trained, and is ill while it stands still."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        metrics = answer.read().decode()
    trained = next(line for line in metrics.splitlines() if line.startswith("telltale_trainer_training_seconds_count"))
    assert 1 <= float(trained.split()[1]) <= 5
    assert 'telltale_trainer_jobs{state="queued"} 0.0' in metrics
    asked = start(arguments=("--health",), trainer_metrics_port=port)
    assert asked.popen.wait(30) == 0, asked.output()
    worker.popen.send_signal(signal.SIGSTOP)
    asked = start(arguments=("--health",), trainer_metrics_port=port)
    assert asked.popen.wait(30) == 1, asked.output()
    worker.popen.send_signal(signal.SIGCONT)
    worker.stop()


def test_a_stopped_workers_job_is_begun_by_another_within_two_seconds(bench: Bench, start: Start) -> None:
    row = bench.accept(random_batch(20))
    stopped = start(n_estimators=LONG, stop_grace_seconds=0)
    wait_until(lambda: is_training(bench, row), 60, stopped)
    heir = start()
    heir.wait_ready()
    began = time.monotonic()
    stopped.popen.send_signal(signal.SIGTERM)
    wait_until(lambda: job_of(bench, row).worker == worker_name(heir), 10, heir)
    assert time.monotonic() - began < 2
    assert stopped.popen.wait(5) == 0
    wait_until(lambda: is_done(bench, row), 60, heir)
    bench.assert_trained_once([row])
    job = job_of(bench, row)
    assert (job.attempts, job.faults, job.losses) == (2, 0, 0)


def test_a_worker_that_is_stopped_ends_its_training_within_the_grace_and_begins_no_other(
    bench: Bench, start: Start
) -> None:
    first, second = bench.accept(random_batch(20, model="a")), bench.accept(random_batch(20, model="b"))
    worker = start(n_estimators=1000, stop_grace_seconds=60)
    wait_until(lambda: is_training(bench, first), 60, worker)
    worker.stop()
    assert is_done(bench, first)
    waiting = job_of(bench, second)
    assert (waiting.state, waiting.attempts, waiting.worker) == ("queued", 0, None)
    bench.assert_trained_once([first])


def test_poison_ends_as_a_dead_letter_and_a_retry_makes_the_version_that_was_promised(
    bench: Bench, start: Start, tmp_path: Path
) -> None:
    cursed = bench.accept(random_batch(FAULTY, model="cursed"))
    good = bench.accept(random_batch(20, model="good"))
    harm = {"env": poison(tmp_path / "poison"), "max_attempts": 3}
    workers = [start(**harm), start(**harm)]
    wait_until(lambda: is_done(bench, good) and bench.log.get(cursed.id).state == "failed", 90)
    dead = job_of(bench, cursed)
    assert (dead.attempts, dead.faults, dead.losses) == (3, 3, 0)
    assert dead.reason == "ValueError: the rows are cursed"
    assert bench.versions("cursed") == []
    jobs = Jobs(bench.postgres, TrainingQueue(bench.postgres))
    assert jobs.counted() == {"queued": 0, "training": 0, "failed": 1}
    for worker in workers:
        worker.stop()
    jobs.retry(cursed.id)
    healed = start()
    wait_until(lambda: is_done(bench, cursed), 60, healed)
    bench.assert_trained_once([cursed])


def test_workers_under_one_parent_are_started_again_until_a_deadly_batch_is_given_up(
    bench: Bench, start: Start, tmp_path: Path
) -> None:
    deadly = bench.accept(random_batch(DEADLY, model="deadly"))
    good = bench.accept(random_batch(20, model="good"))
    port = free_port()
    harm = {"env": poison(tmp_path / "poison"), "max_losses": 2, "trainer_metrics_port": port, **QUICK}
    parent = start(arguments=("--workers", "2"), **harm)
    wait_until(lambda: is_done(bench, good) and bench.log.get(deadly.id).state == "failed", 90, parent)
    dead = job_of(bench, deadly)
    assert (dead.losses, dead.faults) == (2, 0)
    assert dead.reason is not None
    assert "ended the worker process 2 times" in dead.reason
    assert parent.said("worker 1 ended with SIGKILL") or parent.said("worker 2 ended with SIGKILL")
    parent.wait_ready(times=4)  # two, and the two that were started for them
    children = psutil.Process(parent.popen.pid).children(recursive=True)
    assert len(children) == 2
    asked = start(arguments=("--health", "--workers", "2"), trainer_metrics_port=port)
    assert asked.popen.wait(30) == 0, asked.output()
    parent.stop()
    assert not any(child.is_running() for child in children)


def test_a_worker_that_hangs_ends_itself_and_another_takes_its_job(bench: Bench, start: Start, tmp_path: Path) -> None:
    row = bench.accept(random_batch(HANGING))
    hung = start(env=poison(tmp_path / "poison"), hung_after_seconds=5, **QUICK)
    wait_until(lambda: is_training(bench, row), 60, hung)
    healthy = start(**QUICK)
    assert hung.popen.wait(30) == 1
    assert "Timeout" in hung.output()
    wait_until(lambda: is_done(bench, row), 60, healthy)
    bench.assert_trained_once([row])
    assert job_of(bench, row).losses == 1


def test_a_worker_that_was_held_up_for_too_long_is_cut_off_and_makes_no_second_version(
    bench: Bench, start: Start
) -> None:
    row = bench.accept(random_batch(20))
    held_up = start(n_estimators=1000)
    wait_until(lambda: is_training(bench, row), 60, held_up)
    held_up.popen.send_signal(signal.SIGSTOP)
    with bench.postgres.transaction() as connection:
        connection.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    heir = start()
    wait_until(lambda: is_done(bench, row), 60, heir)
    held_up.popen.send_signal(signal.SIGCONT)
    next_row = bench.accept(random_batch(20, seed=1), after=1)
    heir.stop()
    wait_until(lambda: is_done(bench, next_row), 90, held_up)
    bench.assert_trained_once([row, next_row])
    held_up.stop()
    assert [line for line in held_up.lines() if line["level"] == "error"] == []


def test_an_attempt_that_does_not_end_is_a_fault_and_ends_its_worker(bench: Bench, start: Start) -> None:
    row = bench.accept(random_batch(20))
    worker = start(n_estimators=LONG, attempt_seconds=0.5)
    assert worker.popen.wait(60) == 1
    job = job_of(bench, row)
    assert (job.state, job.faults, job.losses) == ("queued", 1, 0)
    assert job.reason == "an attempt did not end within 0.5 s"
    assert "batch" in worker.lines()[-1]["message"]
