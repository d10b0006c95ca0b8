"""What a trainer's process holds while it trains a window of 1,000,000 x 8: `python -m benchmarks.trainer_memory`.

A real trainer on a PostgreSQL, an MLflow store and an object store of its own. The model has taken in twice the window
before, in batches of 100,000; then one batch comes, and its training is measured until its version is there. What the
window takes is the difference to a trainer with a window of a tenth, which imports and caches all the same.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.cores import choose_cores, cpu_seconds
from benchmarks.processes import NotStarted, running
from benchmarks.rounds import alternate
from contract.columns import Batch
from standalone.embedded_postgres import EmbeddedPostgres
from store.ingest_log import BatchRow, IngestLog
from store.local_objects import LocalObjectStore
from store.migrate import migrate, sqlalchemy_url
from store.parquet import encode_batch
from store.postgres import Connection, Postgres
from store.queue import TrainingQueue

WINDOW, SMALL_WINDOW, FEATURES, BATCH = 1_000_000, 100_000, 8, 100_000
_ROW_MB = (FEATURES + 1) * 8 / 1e6  # the features and the time stamp
_TAKEN_IN = 2 * WINDOW // BATCH
_START = datetime(2024, 1, 15, 10, tzinfo=UTC)
_LONGEST_SECONDS = 120.0


@dataclass(frozen=True)
class Trained:
    """One training: what its process held at most, in MB, and its processor time in seconds."""

    peak_mb: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.peak_mb:.0f} MB and {self.seconds:.1f} s"


class _NoQueue(TrainingQueue):
    """Takes in what is not to be trained."""

    def defer(self, connection: Connection, *, batch_id: str, model: str, traceparent: str | None = None) -> None:
        """Do nothing."""


def run(rounds: int, core: int, say: Callable[[str], None]) -> dict[str, float]:
    """Return medians over the rounds: memory in MB (10^6 bytes), processor time, and how many windows are held."""
    with _postgres() as (url, folder), _opened(Postgres(url)) as postgres:
        objects = LocalObjectStore(folder / "objects")
        history, log = (IngestLog(postgres, objects, queue(postgres)) for queue in (_NoQueue, TrainingQueue))
        for number in range(_TAKEN_IN):
            _accept(history, number)
        train = partial(_train, log, count(_TAKEN_IN), core, folder / "trainer.log")
        windows = (SMALL_WINDOW, WINDOW)
        trained = alternate({str(rows): partial(train, _variables(url, folder, rows)) for rows in windows}, rounds, say)
    small, large = (trained[str(rows)] for rows in windows)
    more = [b.peak_mb - a.peak_mb for a, b in zip(small, large, strict=True)]
    return {
        "trainer_peak_100k_mb": statistics.median(one.peak_mb for one in small),
        "trainer_peak_1m_mb": statistics.median(one.peak_mb for one in large),
        "trainer_windows_held": statistics.median(more) / (_ROW_MB * (WINDOW - SMALL_WINDOW)),
        "training_1m_cpu_s": statistics.median(one.seconds for one in large),
    }


@contextmanager
def _postgres() -> Iterator[tuple[str, Path]]:
    """Yield the URL of a PostgreSQL with our schema, and a folder; both are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="telltale-bench-"))
    folder.chmod(0o711)  # where root runs this, PostgreSQL is another user, who passes through
    server = EmbeddedPostgres(folder, folder / "postgres.log")
    try:
        server.start()
        migrate(server.url)
        yield server.url, folder
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _opened(postgres: Postgres) -> Iterator[Postgres]:
    postgres.open()
    try:
        yield postgres
    finally:
        postgres.close()


def _accept(log: IngestLog, number: int) -> BatchRow:
    """Take in a batch, a day's worth after the one before."""
    start = _START + timedelta(days=number)
    batch = Batch(
        model="bench",
        feature_names=tuple(f"f{position}" for position in range(FEATURES)),
        vehicle_ids=[f"VH-{position:06}" for position in range(BATCH)],
        timestamps=int(start.timestamp()) * 1_000_000 + 800_000 * np.arange(BATCH, dtype=np.int64),
        X=np.random.default_rng(number).normal(size=(BATCH, FEATURES)).round(6),
    )
    return log.accept(encode_batch(batch), now=start, warnings=[])


def _variables(url: str, folder: Path, window: int) -> dict[str, str]:
    return {
        "DATABASE_URL": url,
        "MLFLOW_TRACKING_URI": sqlalchemy_url(url),
        "TELLTALE_MLFLOW_ARTIFACT_ROOT": str(folder / "mlflow"),
        "TELLTALE_OBJECT_STORE": str(folder / "objects"),
        "TELLTALE_WINDOW_RECORDS": str(window),
        "TELLTALE_NICENESS": "0",  # alone on its core
    }


def _train(log: IngestLog, numbers: Iterator[int], core: int, output: Path, variables: dict[str, str]) -> Trained:
    """Start a trainer, give it one batch, and return what that took."""
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "trainer"]
    with running(command, variables, core=core, log=output, port=0) as (trainer, _):
        _wait(lambda: "trainer ready" in output.read_text(), output)
        before = cpu_seconds(trainer.pid)
        row = _accept(log, next(numbers))
        _wait(lambda: log.get(row.id).state in {"done", "failed"}, output)
        seconds = cpu_seconds(trainer.pid) - before
        if log.get(row.id).state == "failed":
            raise NotStarted(f"the training failed: {log.get(row.id).error}")
        return Trained(peak_rss_mb(trainer.pid), seconds)


def _wait(condition: Callable[[], bool], output: Path) -> None:
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise NotStarted(f"the trainer takes too long: {output.read_text()[-1500:]}")
        time.sleep(0.02)


def peak_rss_mb(pid: int) -> float:
    """Return the most resident memory that a process ever had in MB (10^6 bytes), as ``VmHWM`` has it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6


if __name__ == "__main__":
    figures = run(3, choose_cores().server, lambda line: print(line, file=sys.stderr))
    json.dump(figures, sys.stdout, indent=1)
