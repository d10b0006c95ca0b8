"""The worker as its own process, as a supervisor starts it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from standalone.embedded_postgres import EmbeddedPostgres
from store.errors import StoreUnavailable
from store.migrate import migrate
from tests.trainer.conftest import MLFLOW_WARNINGS, Bench, bench_for, random_batch, settings_for
from tests.trainer.processes import LONG, Process, wait_until

pytestmark = [pytest.mark.integration, *MLFLOW_WARNINGS]


def test_a_worker_trains_what_is_queued_and_stops_when_asked_even_twice(
    bench: Bench, start: Callable[..., Process]
) -> None:
    rows = [bench.accept(random_batch(20)), bench.accept(random_batch(3, seed=1), after=3)]
    process = start()
    process.wait_ready()
    wait_until(lambda: all(bench.log.get(row.id).state == "done" for row in rows), 60, process)
    bench.assert_trained_once(rows)
    assert process.stop() < 8
    lines = process.lines()
    assert lines[-1]["message"] == "stopped"
    assert [line for line in lines if line["level"] != "info"] == []


def test_a_killed_workers_job_is_taken_over_within_seconds(bench: Bench, start: Callable[..., Process]) -> None:
    row = bench.accept(random_batch(20))
    doomed = start(n_estimators=LONG)
    wait_until(lambda: bench.log.get(row.id).state == "training", 60, doomed)
    heir = start()
    heir.wait_ready()
    assert bench.log.get(row.id).state == "training"
    doomed.popen.kill()
    assert wait_until(lambda: bench.log.get(row.id).state == "done", 60, heir) < 15
    bench.assert_trained_once([row])


def test_a_training_that_does_not_end_in_time_is_left_to_the_next_worker(
    bench: Bench, start: Callable[..., Process]
) -> None:
    row = bench.accept(random_batch(20))
    process = start(n_estimators=LONG, stop_grace_seconds=0.5)
    wait_until(lambda: bench.log.get(row.id).state == "training", 60, process)
    assert process.stop() < 4
    successor = start()
    successor.wait_ready()
    assert wait_until(lambda: bench.log.get(row.id).state == "done", 60, successor) < 6
    bench.assert_trained_once([row])


def test_a_batch_that_can_never_be_trained_fails_and_blocks_nobody(bench: Bench, start: Callable[..., Process]) -> None:
    bad, good = bench.accept(random_batch(5)), bench.accept(random_batch(5, seed=1), after=3)
    (bench.root / "objects" / bad.object_key).write_bytes(b"changed")
    process = start()
    wait_until(lambda: bench.log.get(good.id).state == "done", 60, process)
    assert bench.log.get(bad.id).state == "failed"
    assert "digest" in str(bench.log.get(bad.id).error)


def test_an_outage_of_the_files_is_waited_out(bench: Bench, start: Callable[..., Process]) -> None:
    objects = bench.root / "objects"
    row = bench.accept(random_batch(5))
    (objects / "models").write_text("a file where a folder has to be")
    process = start(max_attempts=1)
    wait_until(lambda: any("waits" in line["message"] for line in process.lines()), 60, process)
    (objects / "models").unlink()
    wait_until(lambda: bench.log.get(row.id).state == "done", 30, process)
    bench.assert_trained_once([row])


def test_a_worker_may_be_asked_to_end_with_the_process_that_started_it(start: Callable[..., Process]) -> None:
    program = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-m', 'trainer']); time.sleep(3)"
    process = start(program=program, stop_with_parent=True)
    assert process.popen.wait(20) == 0
    wait_until(lambda: any(line["message"] == "stopped" for line in process.lines()), 60)


@pytest.fixture
def own_server(data_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that a test may stop."""
    server = EmbeddedPostgres(data_folder, data_folder / "postgres.log")
    server.start()
    migrate(server.url)
    yield server
    server.stop()


def test_a_worker_outlives_a_restart_of_postgresql(
    own_server: EmbeddedPostgres, start: Callable[..., Process], tmp_path: Path
) -> None:
    settings = settings_for(own_server.url, tmp_path)
    with bench_for(settings) as bench:
        process = start(settings)
        process.wait_ready()
        url = own_server.url
        own_server.stop()
        wait_until(lambda: any("lost PostgreSQL" in line["message"] for line in process.lines()), 30, process)
        own_server.start()
        assert own_server.url == url
        row = _accepted(bench)
        wait_until(lambda: bench.log.get(row.id).state == "done", 60, process)
        bench.assert_trained_once([row])
        assert process.stop() < 8


def _accepted(bench: Bench) -> Any:
    deadline = time.monotonic() + 20
    while True:
        try:
            return bench.accept(random_batch(5))
        except (StoreUnavailable, psycopg.Error):
            assert time.monotonic() < deadline
