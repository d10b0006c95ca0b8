"""Fixtures that many tests need: a real PostgreSQL, fresh for each test, and a real S3 server."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from standalone.embedded_postgres import EmbeddedPostgres
from store.migrate import migrate

if TYPE_CHECKING:
    from tests.mlflow_server import MlflowServer
    from tests.seaweed import Seaweed

_TEMPLATE = "template_telltale"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server for the whole run, on a free port, with its data in a temporary folder."""
    with passable_folder() as folder:
        yield from _running_server(folder)


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A temporary folder in which an embedded PostgreSQL can live, whoever runs the tests."""
    with passable_folder() as folder:
        yield folder


@contextmanager
def passable_folder() -> Iterator[Path]:
    """Yield a temporary folder that root's PostgreSQL, which runs as another user, can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="telltale-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Seaweed]:
    """A real S3 server for the whole run. Make a bucket of your own in it; a test that kills one starts its own."""
    from tests.seaweed import Seaweed  # it imports boto3, which most test runs need not pay for

    with passable_folder() as folder:
        server = Seaweed(folder)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def mlflow_server(postgres_server: EmbeddedPostgres, s3_server: Seaweed) -> Iterator[MlflowServer]:
    """The real MLflow server as it is deployed, for the whole run; a test that kills it starts it again."""
    from tests.mlflow_server import MlflowServer

    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow_server")
    url = _sibling(postgres_server.url, "mlflow_server")
    extra = s3_server.environment() | {"MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "https://mlflow.example.org"}
    with passable_folder() as folder:
        server = MlflowServer(folder, url, f"s3://{s3_server.make_bucket('mlflow-server')}/artifacts", extra)
        server.start()
        yield server
        server.stop()


def _running_server(folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder, folder / "postgres.log")
    server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {_TEMPLATE}")
    migrate(_sibling(server.url, _TEMPLATE))
    yield server
    server.stop()


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres) -> str:
    """The URL of a fresh database with the newest schema."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    return _sibling(postgres_server.url, name)


def _sibling(url: str, database: str) -> str:
    return f"{url.rpartition('/')[0]}/{database}"
