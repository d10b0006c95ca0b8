from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

import store
from store.migrate import migrate, sqlalchemy_url
from store.postgres import connection_options

pytestmark = pytest.mark.integration


def test_a_fresh_database_has_the_tables_and_the_queue(database_url: str) -> None:
    with psycopg.connect(database_url, **connection_options()) as connection:
        names = {row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'telltale'")}
    assert {"models", "batches", "idempotency_keys", "served_versions", "procrastinate_jobs"} <= names


def test_migrating_again_changes_nothing(database_url: str) -> None:
    newest = max(path.name[:4] for path in (Path(store.__file__).parent / "migrations" / "versions").glob("0*.py"))
    migrate(database_url)
    with psycopg.connect(database_url, **connection_options()) as connection:
        assert connection.execute("SELECT version_num FROM schema_version").fetchall() == [(newest,)]


def test_a_libpq_url_becomes_one_that_names_the_driver() -> None:
    assert sqlalchemy_url("postgres://u:p@h:1/d") == "postgresql+psycopg://u:p@h:1/d"
    assert sqlalchemy_url("postgresql://u:p@h:1/d?sslmode=require").startswith("postgresql+psycopg://u:p@h:1/d")
