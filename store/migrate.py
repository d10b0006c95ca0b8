"""Bringing a database to the newest schema, with Alembic.

Alembic comes with MLflow into the trainer's image, which is where migrations run; the predictor's image has neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from store.postgres import SCHEMA, postgres_errors

# Any numbers, the same for all: two processes that migrate at once take turns.
_LOCK = 7_355_608
_MLFLOW_LOCK = 7_355_609


def migrate(url: str) -> None:
    """Create or upgrade our schema in the database at ``url``; a database that is up to date is left alone."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    with postgres_errors(), _psycopg_errors(), engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _psycopg_errors() -> Iterator[None]:
    """Give psycopg's error back where SQLAlchemy wrapped it."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise error.orig from error
        raise


@contextmanager
def making_mlflow_tables(url: str) -> Iterator[None]:
    """Let one process at a time make MLflow's tables: MLflow does so at first contact, and two at once collide."""
    with postgres_errors(), psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_MLFLOW_LOCK,))
        yield


def sqlalchemy_url(url: str) -> str:
    """Return a libpq URL in SQLAlchemy's form, which names the driver; psycopg.ProgrammingError if it is no URL."""
    psycopg.conninfo.conninfo_to_dict(url)
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return f"postgresql+psycopg://{url.removeprefix(scheme)}"
    return url
