"""The production shape on one machine: every part a server or a process of its own, none of them a stand-in."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
from mlflow import MlflowClient

from benchmarks.server import free_port
from chaos.aftermath import Places
from chaos.campaign import Victim
from chaos.parts import Part
from standalone.embedded_postgres import EmbeddedPostgres
from store.ingest_log import IngestLog
from store.migrate import migrate
from store.object_url import open_objects
from store.postgres import Postgres
from store.queue import TrainingQueue
from tests.mlflow_server import MlflowServer
from tests.seaweed import Seaweed

OBJECTS, MLFLOW_OBJECTS = "s3://telltale", "s3://mlflow-artefacts"
_POSTGRES_GONE_SECONDS = 10.0


@dataclass
class PostgresPart:
    """PostgreSQL, killed by its first process; the others notice and end."""

    server: EmbeddedPostgres

    def kill(self) -> None:
        """End it without a checkpoint."""
        pid = int((self.server.folder / "postmaster.pid").read_text().split()[0])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _POSTGRES_GONE_SECONDS
        while self.server.is_running() and time.monotonic() < deadline:
            time.sleep(0.01)

    def start(self) -> None:
        """Start it again on the same port; it recovers from its log."""
        self.server.start()


@dataclass
class Shape:
    """All parts, which know each other by their addresses."""

    folder: Path
    postgres: EmbeddedPostgres
    s3: Seaweed
    mlflow: MlflowServer
    mlflow_database: str = field(repr=False)
    predictor: Part
    controller: Part
    trainer: Part
    port: int
    environment: dict[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """The predictor's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def victims(self) -> dict[str, Victim]:
        """Those that are killed."""
        return {
            "trainer": self.trainer,
            "MLflow": self.mlflow,
            "PostgreSQL": PostgresPart(self.postgres),
            "S3": self.s3,
        }

    @contextmanager
    def places(self) -> Iterator[Places]:
        """Yield where to look for what is left."""
        os.environ.update(self.s3.environment())
        os.environ.update(self.mlflow.client_environment("admin"))
        database = Postgres(self.postgres.url, max_connections=2)
        database.open()
        objects = open_objects(OBJECTS)
        try:
            yield Places(
                log=IngestLog(database, objects, TrainingQueue(database)),
                objects=objects,
                mlflow=MlflowClient(self.mlflow.url, self.mlflow.url),
                mlflow_objects=open_objects(MLFLOW_OBJECTS),
                url=self.url,
            )
        finally:
            database.close()

    def batch_ids(self) -> list[str]:
        """Return the ids of all batches."""
        with psycopg.connect(self.postgres.url) as connection:
            return [str(row[0]) for row in connection.execute("SELECT id::text FROM telltale.batches").fetchall()]


@contextmanager
def running(folder: Path, report: Callable[[str], None]) -> Iterator[Shape]:
    """Start everything in ``folder``, which PostgreSQL's user can pass through; all of it is stopped in the end."""
    with ExitStack() as started:
        report("starting PostgreSQL and S3")
        postgres = EmbeddedPostgres(folder, folder / "postgres.log")
        postgres.start()
        started.callback(postgres.stop)
        s3 = Seaweed(folder / "s3")
        s3.start()
        started.callback(s3.stop)
        for bucket in (OBJECTS, MLFLOW_OBJECTS):
            s3.make_bucket(bucket.removeprefix("s3://"))
        migrate(postgres.url)
        report("starting MLflow")
        database = _second_database(postgres.url)
        mlflow = MlflowServer(folder, database, MLFLOW_OBJECTS, s3.environment())
        mlflow.start()
        started.callback(mlflow.kill)
        report("starting the predictor, the controller and the trainer")
        shape = _with_our_parts(folder, postgres, s3, mlflow, database)
        for part in (shape.predictor, shape.controller, shape.trainer):
            part.start()
            started.callback(part.stop)
        yield shape


def _second_database(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow")
    return f"{url.rpartition('/')[0]}/mlflow"


def _with_our_parts(
    folder: Path, postgres: EmbeddedPostgres, s3: Seaweed, mlflow: MlflowServer, mlflow_database: str
) -> Shape:
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_", "TELLTALE_"))},
        **s3.environment(),
        "DATABASE_URL": postgres.url,
        "TELLTALE_OBJECT_STORE": OBJECTS,
        "TELLTALE_PORT": str(port),
        "TELLTALE_GRPC_PORT": "0",
        "PYTHONUNBUFFERED": "1",
    }
    trainer = environment | mlflow.client_environment("trainer")
    registry = environment | mlflow.client_environment("registry")

    def part(name: str, module: str, environment: dict[str, str], ready: Callable[[Path], Callable[[], bool]]) -> Part:
        log = folder / f"{name}.log"
        return Part(name, (module,), environment, log, ready(log))

    return Shape(
        folder=folder,
        postgres=postgres,
        s3=s3,
        mlflow=mlflow,
        mlflow_database=mlflow_database,
        predictor=part("predictor", "predictor", environment, lambda _: lambda: _answers(f"http://127.0.0.1:{port}")),
        controller=part("controller", "standalone.controller_main", registry, _says("controller ready")),
        trainer=part("trainer", "trainer", trainer, _says("trainer ready")),
        port=port,
        environment=environment,
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).is_success
    except httpx.TransportError:
        return False


def _says(words: str) -> Callable[[Path], Callable[[], bool]]:
    """Return what makes a test of a log: whether it says ``words`` once more than when the test last succeeded."""

    def of(log: Path) -> Callable[[], bool]:
        heard = 0

        def ready() -> bool:
            nonlocal heard
            said = log.read_text(errors="replace").count(words)
            if said > heard:
                heard = said
                return True
            return False

        return ready

    return of
