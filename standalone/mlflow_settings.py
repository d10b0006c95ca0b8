"""The settings of the MLflow server as it is deployed, and what becomes of them: its environment and its auth file.

Variables are MLflow's own wherever it has one. Secrets go to the server by its environment and by a file that only it
can read, never by a command line, which everybody on the machine can see.
"""

from __future__ import annotations

import configparser
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from store.object_url import ObjectStoreUrl

TRAINER, REGISTRY = "trainer", "registry"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_SHORTEST = 12
_GUESSED = ("password", "changeme", "change-me", "secret", "mlflow", "telltale", "12345678", "qwertz", "qwerty")
_FEWEST_CHARACTERS = 6

# What the server's process is started with, unless the environment says otherwise.
_DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    # Each of these would be eight processes more, for features that Telltale does not use.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # MLflow's assistant runs commands for whoever reaches the server by loopback, as `kubectl port-forward` does. When
    # it has to run them in a container of their own, and Docker is not there, it runs none.
    "MLFLOW_ENABLE_ASSISTANT_SANDBOX": "true",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    # The server shows models and never needs to open one; a pickle that somebody registers must not run here.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # An S3 that does not answer is told to the client, which tries again; it must not hold the server's threads.
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": "2",
    # A client's connection is kept for longer than load balancers keep theirs, or they meet closed ones.
    "MLFLOW_UVICORN_OPTS": "--timeout-graceful-shutdown 5 --timeout-keep-alive 75 --no-access-log",
}
# A server is no client, and our own settings are not for MLflow's workers.
_NOT_PASSED_ON = ("DATABASE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


def refuse_weak(password: SecretStr) -> SecretStr:
    """Return a password that is good enough; ValueError says what is wrong, without saying the password."""
    text = password.get_secret_value()
    if len(text) < _SHORTEST:
        fault = f"it has fewer than {_SHORTEST} characters"
    elif len(set(text)) < _FEWEST_CHARACTERS:
        fault = f"it has fewer than {_FEWEST_CHARACTERS} different characters"
    elif any(word in text.lower() for word in _GUESSED):
        fault = "it holds a word that is tried first"
    else:
        return password
    raise ValueError(f"this password is too weak: {fault}. Take the output of `openssl rand -base64 24`")


Password = Annotated[SecretStr, AfterValidator(refuse_weak)]


class MlflowServerSettings(BaseSettings):
    """What `telltale mlflow-server` takes from the environment."""

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

    database_url: SecretStr = Field(
        alias="DATABASE_URL",
        description="PostgreSQL: MLflow's runs, models, accounts and roles. Best a database and a user of its own.",
    )
    artifacts_destination: ObjectStoreUrl = Field(
        alias="MLFLOW_ARTIFACTS_DESTINATION",
        description="Where the server keeps artefacts: s3://bucket/prefix, or a folder. Clients need no rights there.",
    )
    host: str = Field("127.0.0.1", alias="MLFLOW_HOST", description="Address to listen on; 0.0.0.0 in a container.")
    port: int = Field(5000, ge=1, le=65535, alias="MLFLOW_PORT", description="Port to listen on.")
    workers: int = Field(
        1, ge=1, alias="MLFLOW_WORKERS", description="Worker processes, about 260 MB each. Replicas serve better."
    )
    allowed_hosts: str = Field(
        "",
        alias="MLFLOW_SERVER_ALLOWED_HOSTS",
        description="Names under which it may be asked, comma-separated: its Service's, its route's. Loopback always"
        " may; empty leaves MLflow's own choice, which is loopback and private addresses.",
    )
    origins: str = Field(
        "",
        alias="MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
        description="Where browsers open the UI, comma-separated, such as https://mlflow.example.org. Without it the UI"
        " works under localhost alone. These names may be asked, too.",
    )
    admin_username: str = Field("admin", alias="MLFLOW_AUTH_ADMIN_USERNAME", description="The administrator's name.")
    admin_password: Password = Field(
        alias="MLFLOW_AUTH_ADMIN_PASSWORD", description="The administrator's password, which each start sets again."
    )
    trainer_password: Password | None = Field(
        None, alias="MLFLOW_TRAINER_PASSWORD", description="Password of the account `trainer`; empty makes none."
    )
    registry_password: Password | None = Field(
        None, alias="MLFLOW_REGISTRY_PASSWORD", description="Password of the account `registry`; empty makes none."
    )
    secret_key: SecretStr | None = Field(
        None,
        alias="MLFLOW_FLASK_SERVER_SECRET_KEY",
        description="Signs the form by which an administrator makes accounts. Empty takes a new one at each start;"
        " several replicas need the same one.",
    )

    @model_validator(mode="after")
    def _refuse_shared(self) -> MlflowServerSettings:
        given = [p.get_secret_value() for p in (self.admin_password, *self.service_passwords.values())]
        if len(set(given)) < len(given):
            raise ValueError("MLFLOW_AUTH_ADMIN_PASSWORD, _TRAINER_PASSWORD and _REGISTRY_PASSWORD must differ")
        if self.admin_username in (TRAINER, REGISTRY):
            raise ValueError("MLFLOW_AUTH_ADMIN_USERNAME must not be one of Telltale's service accounts")
        return self

    @property
    def service_passwords(self) -> dict[str, SecretStr]:
        """The passwords of the service accounts, by name."""
        given = {TRAINER: self.trainer_password, REGISTRY: self.registry_password}
        return {name: password for name, password in given.items() if password is not None}


def server_environment(settings: MlflowServerSettings, auth_file: Path, outer: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the server's process, from ours (``outer``)."""
    uri = backend_uri(settings.database_url.get_secret_value())
    key = settings.secret_key.get_secret_value() if settings.secret_key else secrets.token_urlsafe(32)
    env = {name: value for name, value in outer.items() if name not in _NOT_PASSED_ON}
    env = _DEFAULTS | env
    env |= {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_REGISTRY_STORE_URI": uri,
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifacts_destination,
        "MLFLOW_HOST": settings.host,
        "MLFLOW_PORT": str(settings.port),
        "MLFLOW_WORKERS": str(settings.workers),
        "MLFLOW_AUTH_CONFIG_PATH": str(auth_file),
        "MLFLOW_AUTH_ADMIN_USERNAME": settings.admin_username,
        "MLFLOW_AUTH_ADMIN_PASSWORD": settings.admin_password.get_secret_value(),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": key,
    }
    env |= {f"MLFLOW_{name.upper()}_PASSWORD": p.get_secret_value() for name, p in settings.service_passwords.items()}
    if hosts := _allowed_hosts(settings):
        env["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(hosts)
    return env


def write_auth_file(settings: MlflowServerSettings, path: Path) -> None:
    """Write the configuration of MLflow's basic auth, readable by us alone."""
    config = configparser.ConfigParser(interpolation=None)
    config["mlflow"] = {
        "default_permission": "NO_PERMISSIONS",
        # MLflow reads the file with interpolation.
        "database_uri": backend_uri(settings.database_url.get_secret_value()).replace("%", "%%"),
        "admin_username": settings.admin_username,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "grant_default_workspace_access": "false",
        # To check a password takes 0.1 s of a core, by design, and a training makes thirty calls.
        "auth_cache_ttl_seconds": "60",
    }
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        config.write(file)


def backend_uri(url: str) -> str:
    """Return a libpq URL as SQLAlchemy takes it, by the psycopg driver, and so that a vanished server is noticed.

    Raises:
        ValueError: it is no PostgreSQL URL.

    """
    for scheme in ("postgresql+psycopg://", "postgresql://", "postgres://"):
        if url.startswith(scheme):
            break
    else:
        raise ValueError("DATABASE_URL must be postgresql://user:password@host:port/database")
    given = urlsplit(url).query
    query = "&".join([given, *(f"{k}={v}" for k, v in _CONNECTION.items() if f"{k}=" not in given)]).lstrip("&")
    return f"postgresql+psycopg://{url.removeprefix(scheme).partition('?')[0]}?{query}"


_CONNECTION = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
    "application_name": "mlflow",
}


def _allowed_hosts(settings: MlflowServerSettings) -> list[str]:
    """Return the values of Host that are answered, with and without a port; empty where nothing was set."""
    named = [name.strip() for name in settings.allowed_hosts.split(",") if name.strip()]
    named += [urlsplit(origin.strip()).netloc for origin in settings.origins.split(",") if origin.strip()]
    if not named or "*" in named:
        return named[:0] if not named else ["*"]
    # MLflow matches names that hold a star as patterns, in which a bracket is special.
    with_port = [f"{name.replace('[', '[[]', 1)}:*" for name in (*named, *_LOOPBACK) if not name.endswith("*")]
    return [*named, *_LOOPBACK, *with_port]
