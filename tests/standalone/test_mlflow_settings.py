from __future__ import annotations

import configparser
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from standalone.mlflow_server import read_settings
from standalone.mlflow_settings import MlflowServerSettings, backend_uri, server_environment, write_auth_file

GIVEN: dict[str, Any] = {
    "DATABASE_URL": "postgresql://mlflow:p%40ss@db:5432/mlflow",
    "MLFLOW_ARTIFACTS_DESTINATION": "s3://bucket/mlflow",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "Lamp-and-dashboard-7",
}


def settings(**given: Any) -> MlflowServerSettings:
    return MlflowServerSettings(**(GIVEN | given))


@pytest.mark.parametrize(
    "weak", ["", "short", "aaaaaaaaaaaaaaaa", "password1234", "My-Password-2026", "telltale-admin-1"]
)
def test_a_weak_password_is_refused_without_being_repeated(weak: str) -> None:
    with pytest.raises(ValidationError, match="too weak") as caught:
        settings(MLFLOW_AUTH_ADMIN_PASSWORD=weak)
    assert not weak or weak not in str(caught.value)


def test_there_is_no_default_for_the_administrators_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_AUTH_ADMIN_PASSWORD", raising=False)
    with pytest.raises(ValidationError, match="MLFLOW_AUTH_ADMIN_PASSWORD"):
        MlflowServerSettings(**{name: value for name, value in GIVEN.items() if "ADMIN" not in name})


def test_accounts_must_not_share_a_password() -> None:
    with pytest.raises(ValidationError, match="must differ"):
        settings(MLFLOW_TRAINER_PASSWORD=GIVEN["MLFLOW_AUTH_ADMIN_PASSWORD"])


def test_the_administrator_is_no_service_account() -> None:
    with pytest.raises(ValidationError, match="service accounts"):
        settings(MLFLOW_AUTH_ADMIN_USERNAME="trainer")


def test_secrets_can_be_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.delenv(name, raising=False)
        (tmp_path / name).write_text(f"{value}\n")
    monkeypatch.setenv("TELLTALE_SECRETS_DIR", str(tmp_path))
    assert read_settings().admin_password.get_secret_value() == GIVEN["MLFLOW_AUTH_ADMIN_PASSWORD"]


def test_the_database_is_reached_by_psycopg_and_its_silence_is_noticed() -> None:
    uri = backend_uri("postgres://mlflow:p%40ss@db/mlflow?sslmode=require&connect_timeout=2")
    assert uri.startswith("postgresql+psycopg://mlflow:p%40ss@db/mlflow?sslmode=require&connect_timeout=2&keepalives")
    assert uri.count("connect_timeout") == 1
    with pytest.raises(ValueError, match="DATABASE_URL"):
        backend_uri("sqlite:///mlflow.db")


def test_the_auth_file_is_closed_by_default_and_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "basic_auth.ini"
    write_auth_file(settings(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = configparser.ConfigParser()  # with interpolation, as MLflow reads it
    read.read(path)
    assert read["mlflow"]["default_permission"] == "NO_PERMISSIONS"
    assert read["mlflow"]["database_uri"] == backend_uri(GIVEN["DATABASE_URL"])
    assert "Lamp" not in path.read_text()


def test_the_server_runs_no_jobs_opens_no_pickles_and_is_no_client(tmp_path: Path) -> None:
    env = server_environment(settings(), tmp_path, {"MLFLOW_TRACKING_URI": "http://elsewhere", "PATH": "/bin", **GIVEN})
    assert env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == env["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert env["MLFLOW_ENABLE_ASSISTANT_SANDBOX"] == "true"
    assert not {"MLFLOW_TRACKING_URI", "DATABASE_URL", "MLFLOW_SERVER_ALLOWED_HOSTS"} & set(env)
    assert len(env["MLFLOW_FLASK_SERVER_SECRET_KEY"]) > 40
    kept = server_environment(settings(MLFLOW_FLASK_SERVER_SECRET_KEY="replicas-share-this"), tmp_path, {})
    assert kept["MLFLOW_FLASK_SERVER_SECRET_KEY"] == "replicas-share-this"


def test_a_route_of_the_ui_may_be_asked_by_its_name(tmp_path: Path) -> None:
    given = settings(
        MLFLOW_SERVER_ALLOWED_HOSTS="mlflow, mlflow.telltale.svc",
        MLFLOW_SERVER_CORS_ALLOWED_ORIGINS="https://mlflow.example.org",
    )
    allowed = server_environment(given, tmp_path, {})["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"mlflow", "mlflow:*", "mlflow.telltale.svc:*", "mlflow.example.org", "127.0.0.1:*", "[[]::1]:*"} <= set(
        allowed
    )
    everybody = server_environment(settings(MLFLOW_SERVER_ALLOWED_HOSTS="*"), tmp_path, {})
    assert everybody["MLFLOW_SERVER_ALLOWED_HOSTS"] == "*"
