"""`telltale prepare`, on a real PostgreSQL and a real S3 server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

import boto3
import psycopg
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from standalone.embedded_postgres import EmbeddedPostgres
from standalone.errors import StandaloneError
from standalone.prepare import PrepareSettings, login_of, prepare, prepare_command
from tests.seaweed import Seaweed

pytestmark = pytest.mark.integration


def url_of(server: EmbeddedPostgres, user: str, password: str, database: str) -> SecretStr:
    address = server.url.rpartition("@")[2].partition("/")[0]
    return SecretStr(f"postgresql://{user}:{password}@{address}/{database}")


def settings_for(server: EmbeddedPostgres, name: str, password: str) -> PrepareSettings:
    return PrepareSettings(
        database_url=url_of(server, f"{name}_user", password, name),
        mlflow_database_url=url_of(server, f"{name}_mlflow", password, f"{name}_mlflow"),
        admin_database_url=SecretStr(server.url),
    )


def test_from_nothing_both_databases_are_made_and_the_schema(postgres_server: EmbeddedPostgres) -> None:
    settings = settings_for(postgres_server, "prepared", "first")
    said: list[str] = []
    prepare(settings, said.append)
    assert [line.rpartition(" ")[2] for line in said if line.startswith("made the database")] == [
        "prepared",
        "prepared_mlflow",
    ]
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        assert connection.execute("SELECT count(*) FROM telltale.batches").fetchone() == (0,)
    assert settings.mlflow_database_url is not None
    with psycopg.connect(settings.mlflow_database_url.get_secret_value()) as connection:
        connection.execute("CREATE TABLE mine (x int)")


def test_neither_user_gets_into_the_others_database(postgres_server: EmbeddedPostgres) -> None:
    prepare(settings_for(postgres_server, "apart", "first"), lambda _: None)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(url_of(postgres_server, "apart_mlflow", "first", "apart").get_secret_value())


def test_once_more_keeps_what_is_there_and_takes_a_new_password(postgres_server: EmbeddedPostgres) -> None:
    first = settings_for(postgres_server, "again", "first")
    prepare(first, lambda _: None)
    with psycopg.connect(first.database_url.get_secret_value()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    second = settings_for(postgres_server, "again", "second")
    said: list[str] = []
    prepare(second, said.append)
    assert said == ["the schema is up to date"]
    with psycopg.connect(second.database_url.get_secret_value()) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(first.database_url.get_secret_value())


def test_several_at_once_are_as_one(postgres_server: EmbeddedPostgres) -> None:
    settings = settings_for(postgres_server, "at_once", "first")
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(prepare, settings, lambda _: None) for _ in range(4)]:
            done.result()


def test_the_bucket_is_made_once(database_url: str, s3_server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    settings = PrepareSettings(database_url=SecretStr(database_url), object_store="s3://prepared-bucket/some/prefix")
    said: list[str] = []
    prepare(settings, said.append)
    prepare(settings, said.append)
    assert said == ["the schema is up to date", "made the bucket prepared-bucket", "the schema is up to date"]
    assert "prepared-bucket" in [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]]


def test_a_bucket_that_we_may_not_use_is_told(
    database_url: str, s3_server: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment("stranger").items():
        monkeypatch.setenv(name, value)
    settings = PrepareSettings(database_url=SecretStr(database_url), object_store="s3://not-for-strangers")
    with pytest.raises(StandaloneError, match="not-for-strangers cannot be"):
        prepare(settings, lambda _: None)


def test_a_url_without_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(StandaloneError, match="postgresql://user:password@host:port/database") as caught:
        login_of("postgresql://somebody@127.0.0.1/telltale")
    assert "somebody" not in str(caught.value)


def test_a_server_that_is_away_is_one_sentence_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://a:b@127.0.0.1:9/c")
    monkeypatch.setenv("TELLTALE_PREPARE_PATIENCE_SECONDS", "0")
    done = CliRunner().invoke(prepare_command)
    assert done.exit_code == 1
    assert done.output.startswith("Error: PostgreSQL")


def test_it_waits_for_a_server_that_is_still_starting(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder, data_folder / "postgres.log")
    server.start()
    settings = PrepareSettings(database_url=SecretStr(server.url))
    server.stop()
    with ThreadPoolExecutor(1) as pool:
        prepared = pool.submit(prepare, settings, lambda _: None)
        with pytest.raises(FutureTimeout):
            prepared.result(timeout=1.5)
        server.start()
        prepared.result(timeout=60)
    server.stop()
