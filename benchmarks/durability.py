"""`make durability`: whether anything that was acknowledged is lost when everything is killed again and again.

Clients ingest without a pause. At random moments the server's whole process group and its PostgreSQL get SIGKILL; it is
started again on the same data. At the end every batch that got a 2xx must be there once, every training job must have
ended, and every version must be whole: one finished MLflow run, one registered version and one readable artefact.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
from mlflow import MlflowClient
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.server import Server, temporary_server
from contract.errors import ContractError
from contract.names import TAG_BATCH, TAG_DIGEST, TAG_VERSION
from standalone.data_folder import DataFolder
from store.errors import StoreError
from store.ingest_log import IngestLog
from store.local_objects import LocalObjectStore
from store.migrate import sqlalchemy_url
from store.model_store import ModelStore
from store.postgres import Postgres, connection_options
from store.queue import TrainingQueue

_MODELS = ("alpha", "beta")
_CLIENTS = 3
_DRAIN_SECONDS = 900.0


@dataclass
class Ledger:
    """What the clients know: the batches they sent, and which were acknowledged."""

    sent: set[str] = field(default_factory=set)
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Count:
    """The result: numbers of batches and versions, and what was wrong, for people."""

    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    half_visible: int = 0
    notes: list[str] = field(default_factory=list)


class Client(threading.Thread):
    """Ingests small batches until told to end; what got no answer is sent again under the same idempotency key."""

    def __init__(self, url: str, ledger: Ledger, seed: int) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(base_url=url, timeout=40)
        self._ledger = ledger
        self._random = random.Random(seed)  # noqa: S311 - no secret, a load
        self._ended = threading.Event()

    def end(self) -> None:
        """Ask it to end after the request under way."""
        self._ended.set()

    def run(self) -> None:
        """Send batch after batch."""
        while not self._ended.is_set():
            self._deliver(secrets.token_hex(6))

    def _deliver(self, mark: str) -> None:
        body = self._body(mark)
        headers = {"Idempotency-Key": mark}
        if self._random.random() < 0.5:
            headers["Prefer"] = "respond-async"
        with self._ledger.lock:
            self._ledger.sent.add(mark)
        while not self._ended.is_set():
            try:
                answer = self._http.post("/ingest", json=body, headers=headers)
            except httpx.TransportError:
                self._ended.wait(0.2)
                continue
            if answer.is_success:
                with self._ledger.lock:
                    self._ledger.acknowledged[mark] = answer.json()
                # An answer before the training would otherwise let the queue grow without end.
                self._ended.wait(self._random.uniform(0, 2) if answer.status_code == httpx.codes.ACCEPTED else 0)
                return
            if answer.status_code not in (409, 503):
                with self._ledger.lock:
                    self._ledger.refused.append(f"{answer.status_code}: {answer.text[:300]}")
                return
            self._ended.wait(0.5)

    def _body(self, mark: str) -> dict[str, Any]:
        start = datetime.now(UTC) - timedelta(hours=1)
        records = [
            {
                "vehicle_id": f"{mark}-{i}",
                "timestamp": (start + timedelta(seconds=i)).isoformat(),
                "feature_vector": [self._random.gauss(0, 1) for _ in range(4)],
            }
            for i in range(self._random.randint(1, 40))
        ]
        return {"model": self._random.choice(_MODELS), "records": records}


def run(kills: int, at_least: int, seed: int, console: Console) -> Count:
    """Kill a loaded server ``kills`` times, let ``at_least`` batches be acknowledged in all, and return the count."""
    moments = random.Random(seed)  # noqa: S311 - no secret, a schedule
    ledger = Ledger()
    with temporary_server() as server, _progress(console) as progress:
        clients = [Client(server.url, ledger, seed + number) for number in range(_CLIENTS)]
        for client in clients:
            client.start()
        task = progress.add_task("kills", total=kills)
        for done in range(1, kills + 1):
            # One life in five is cut while it is still starting; the others within the time of a few trainings.
            early = moments.random() < 0.2
            server.start(wait=not early)
            time.sleep(moments.uniform(0.1, 2.5) if early else moments.uniform(0.2, 12))
            server.kill()
            progress.update(task, completed=done, description=f"kills ({len(ledger.acknowledged)} acknowledged)")
        server.start()
        _wait_for_acknowledgements(ledger, at_least)
        for client in clients:
            client.end()
        for client in clients:
            client.join(60)
        _wait_for_jobs(server, progress)
        count = examine(server, ledger)
        count.notes += ledger.refused
    return count


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def _database_url(server: Server) -> str:
    instance = DataFolder(server.data).instance()
    if instance is None:
        raise RuntimeError("the server runs and left no note of its database")
    return instance.database_url


def _wait_for_acknowledgements(ledger: Ledger, at_least: int) -> None:
    deadline = time.monotonic() + _DRAIN_SECONDS
    while len(ledger.acknowledged) < at_least:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {len(ledger.acknowledged)} of {at_least} batches were acknowledged")
        time.sleep(0.2)


def _wait_for_jobs(server: Server, progress: Progress) -> None:
    """Wait until no batch is queued, in training, or without the gate's verdict."""
    query = (
        "SELECT count(*) FILTER (WHERE state IN ('queued', 'training') OR state = 'done' AND gate IS NULL), count(*)"
    )
    task = progress.add_task("trainings", total=None)
    deadline = time.monotonic() + _DRAIN_SECONDS
    with psycopg.connect(_database_url(server), autocommit=True, **connection_options()) as connection:
        while time.monotonic() < deadline:
            left, total = connection.execute(f"{query} FROM batches").fetchone() or (0, 0)
            progress.update(task, completed=total - left, total=total)
            if left == 0:
                return
            time.sleep(0.5)
    raise RuntimeError(f"{left} trainings did not end within {_DRAIN_SECONDS:.0f} s")


def examine(server: Server, ledger: Ledger) -> Count:
    """Compare what the clients were told with what is there."""
    url = _database_url(server)
    objects = LocalObjectStore(server.data / "objects")
    postgres = Postgres(url, max_connections=2)
    postgres.open()
    log = IngestLog(postgres, objects, TrainingQueue(postgres))
    with postgres.transaction() as connection:
        ids = [str(row[0]) for row in connection.execute("SELECT id::text FROM batches").fetchall()]
    count = Count(acknowledged=len(ledger.acknowledged))
    marks: Counter[str] = Counter()
    for batch_id in ids:
        row = log.get(batch_id)
        try:
            mark = {vehicle.rpartition("-")[0] for vehicle in log.read(row).vehicle_ids}
        except (StoreError, ContractError) as fault:
            count.notes.append(f"batch {batch_id}: {fault}")
            continue
        if len(mark) != 1 or not mark <= ledger.sent:
            count.notes.append(f"batch {batch_id} holds records of {sorted(mark)}")
        marks.update(mark)
        if row.state != "done":
            count.notes.append(f"batch {batch_id} ended as {row.state}: {row.error}")
            count.half_visible += 1
    count.lost = sum(marks[mark] == 0 for mark in ledger.acknowledged)
    count.doubled = sum(number > 1 for number in marks.values())
    rows = [log.get(batch_id) for batch_id in ids]
    count.half_visible += _half_visible(
        {(r.model, r.version): r.id for r in rows}, ModelStore(objects), url, server, count
    )
    postgres.close()
    return count


def _half_visible(
    expected: dict[tuple[str, str], str], models: ModelStore, url: str, server: Server, count: Count
) -> int:
    """Count versions that are not the same, whole and single, in the log, the model store, MLflow and `/score`."""
    client = MlflowClient(tracking_uri=sqlalchemy_url(url), registry_uri=sqlalchemy_url(url))
    registered: dict[tuple[str, str], list[Any]] = {}
    for model in _MODELS:
        for version in client.search_model_versions(f"name = '{model}'", max_results=10_000):
            registered.setdefault((model, version.tags.get(TAG_VERSION, "")), []).append(version)
    visible = {(model, version) for model in models.models() for version in models.versions(model)}
    faults = 0
    for key in expected.keys() | registered.keys() | visible:
        fault = _version_fault(key, expected.get(key), registered.get(key, []), models, client, server)
        if fault is not None:
            faults += 1
            count.notes.append(f"{key[0]} {key[1]}: {fault}")
    return faults


def _version_fault(
    key: tuple[str, str], batch_id: str | None, registered: list[Any], models: ModelStore, client: Any, server: Server
) -> str | None:
    """Return what is wrong with a version, or None."""
    if batch_id is None:
        return "there is no batch for it"
    if len(registered) != 1:
        return f"MLflow has it {len(registered)} times"
    tags = registered[0].tags
    try:
        manifest = models.manifest(*key)
        models.load(manifest)
    except (StoreError, ContractError) as error:
        return str(error)
    if (tags[TAG_BATCH], tags[TAG_DIGEST], manifest.batch_id) != (batch_id, manifest.forest.digest, batch_id):
        return "MLflow and the model store disagree"
    if client.get_run(registered[0].run_id).info.status != "FINISHED":
        return "its MLflow run is not finished"
    record = {"vehicle_id": "x", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [0.0] * 4}
    answer = httpx.post(f"{server.url}/score", json=record | {"model": key[0], "model_version": key[1]}, timeout=30)
    return None if answer.is_success else f"/score answers {answer.status_code}: {answer.text[:200]}"


def main(arguments: list[str]) -> int:
    """Run and print the count; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make durability", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="how often to kill (default 50)")
    parser.add_argument("--batches", type=int, default=50, help="go on until so many are acknowledged (default 50)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the moments; printed")
    options = parser.parse_args(arguments)
    console = Console()
    console.print(f"seed {options.seed}")
    count = run(options.kills, options.batches, options.seed, console)
    for note in count.notes:
        console.print(f"  {note}", markup=False)
    print(
        f"{options.kills} kills, {count.acknowledged} batches acknowledged, "
        f"{count.lost} lost, {count.doubled} doubled, {count.half_visible} half-visible"
    )
    return 0 if count.lost == count.doubled == count.half_visible == 0 and not count.notes else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
