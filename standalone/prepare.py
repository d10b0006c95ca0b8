"""`telltale prepare`: what the parts of a deployment find and never make themselves: databases, the schema, the bucket.

It runs to its end before the parts start, and again before each upgrade. Nothing that is there is made anew or emptied,
and any number of these may run at once. Only this one holds an administrator's password.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import click
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from standalone.errors import StandaloneError, StoreAway
from store.errors import StoreError, StoreUnavailable
from store.migrate import migrate
from store.object_url import Bucket, ObjectStoreUrl, place_of

Report = Callable[[str], None]
# Any number: those who make roles and databases take turns.
_LOCK = 7_355_610
_PAUSE_SECONDS = 1.0


class PrepareSettings(BaseSettings):
    """What `telltale prepare` takes from the environment."""

    model_config = SettingsConfigDict(
        frozen=True, env_prefix="TELLTALE_", env_ignore_empty=True, extra="ignore", populate_by_name=True
    )

    database_url: SecretStr = Field(alias="DATABASE_URL", description="Telltale's database, as its parts use it.")
    mlflow_database_url: SecretStr | None = Field(
        None, description="MLflow's database, as its server uses it. Empty prepares none."
    )
    admin_database_url: SecretStr | None = Field(
        None,
        description="A database of the same server, with a user who may make users and databases: those of the other"
        " two are made where they are not there. Empty expects them.",
    )
    object_store: ObjectStoreUrl | None = Field(
        None, description="The object store; the bucket of s3://bucket/prefix is made if it is not there."
    )
    prepare_patience_seconds: float = Field(
        60.0, ge=0, description="How long to wait for stores that do not answer yet: all may be started at once."
    )


@dataclass(frozen=True)
class Login:
    """A user, their password and their database, as a URL names them."""

    user: str
    password: str
    database: str


@click.command(name="prepare")
def prepare_command() -> None:
    """Make databases, schema and bucket, as far as they are not there.

    Settings: DATABASE_URL, TELLTALE_MLFLOW_DATABASE_URL, TELLTALE_ADMIN_DATABASE_URL, TELLTALE_OBJECT_STORE and the
    variables of AWS.
    """
    try:
        prepare(PrepareSettings(), lambda line: click.echo(line, err=True))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors())
        raise click.ClickException(f"a setting is wrong: {faults}") from error
    except (StandaloneError, StoreError) as error:
        raise click.ClickException(str(error)) from error


def prepare(settings: PrepareSettings, report: Report) -> None:
    """Make what is not there.

    Raises:
        StandaloneError, StoreError: something cannot be made; the message says what.

    """
    deadline = time.monotonic() + settings.prepare_patience_seconds
    _when_it_answers(lambda: _make_databases(settings, report), deadline)
    if settings.object_store is not None:
        bucket = settings.object_store
        _when_it_answers(lambda: _make_bucket(bucket, report), deadline)


def _when_it_answers(make: Callable[[], None], deadline: float) -> None:
    while True:
        try:
            return make()
        except (StoreAway, StoreUnavailable):
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def _make_databases(settings: PrepareSettings, report: Report) -> None:
    try:
        if settings.admin_database_url is not None:
            _make_logins(settings, settings.admin_database_url.get_secret_value(), report)
        migrate(settings.database_url.get_secret_value())
    except psycopg.OperationalError as error:
        raise StoreAway(f"PostgreSQL cannot be used: {error}") from error
    except psycopg.Error as error:
        raise StandaloneError(f"PostgreSQL refuses: {error}") from error
    report("the schema is up to date")


def _make_logins(settings: PrepareSettings, admin_url: str, report: Report) -> None:
    with psycopg.connect(admin_url, autocommit=True, connect_timeout=10) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        for url in (settings.database_url, settings.mlflow_database_url):
            if url is not None:
                _make_login(connection, login_of(url.get_secret_value()), report)


def _make_login(connection: psycopg.Connection, login: Login, report: Report) -> None:
    """Make a user and a database of theirs; the password is set each time, so that a new one is taken over."""
    user, database = sql.Identifier(login.user), sql.Identifier(login.database)
    if not _is_there(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", login.user):
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(user))
        report(f"made the user {login.user}")
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(user, sql.Literal(login.password)))
    if not _is_there(connection, "SELECT 1 FROM pg_database WHERE datname = %s", login.database):
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(user))
        # As the embedded one is made: a server's own default may be no encoding at all.
        made = "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
        connection.execute(sql.SQL(made).format(database, user))
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(database))
        report(f"made the database {login.database}")


def _is_there(connection: psycopg.Connection, question: str, name: str) -> bool:
    return connection.execute(question, (name,)).fetchone() is not None


def login_of(url: str) -> Login:
    """Return whom and what a URL names.

    Raises:
        StandaloneError: it does not name a user, a password and a database.

    """
    try:
        parts = conninfo_to_dict(url)
        return Login(str(parts["user"]), str(parts["password"]), str(parts["dbname"]))
    except (KeyError, psycopg.ProgrammingError):
        raise StandaloneError("a database is named as postgresql://user:password@host:port/database") from None


def _make_bucket(url: str, report: Report) -> None:
    place = place_of(url)
    if not isinstance(place, Bucket):
        return
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - who keeps files need not import it

    from store.s3_objects import s3_client  # noqa: PLC0415 - the same

    client = s3_client()
    try:
        client.head_bucket(Bucket=place.name)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        if status != 404:
            kind = StoreAway if status >= 500 else StandaloneError
            raise kind(f"the bucket {place.name} cannot be used: {error}") from error
    except BotoCoreError as error:
        raise StoreAway(f"S3 does not answer: {error}") from error
    else:
        return
    region = client.meta.region_name
    elsewhere = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        client.create_bucket(Bucket=place.name, **elsewhere)  # type: ignore[arg-type] # a region we cannot know
    except client.exceptions.BucketAlreadyOwnedByYou:
        return
    except (ClientError, BotoCoreError) as error:
        raise StandaloneError(f"the bucket {place.name} cannot be made: {error}") from error
    report(f"made the bucket {place.name}")
