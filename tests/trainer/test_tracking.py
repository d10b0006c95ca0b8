from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    CUSTOMER_UNAUTHORIZED,
    INVALID_PARAMETER_VALUE,
    PERMISSION_DENIED,
    TEMPORARILY_UNAVAILABLE,
)
from requests import HTTPError, Response
from sqlalchemy.exc import InterfaceError, OperationalError

from tests.trainer.conftest import MLFLOW_WARNINGS
from trainer.errors import TrackingForbidden, TrackingRefused, TrackingUnavailable
from trainer.tracking import Tracking
from trainer.tracking_errors import may_pass, mlflow_errors

pytestmark = MLFLOW_WARNINGS


def artefacts_answer(status: int) -> HTTPError:
    """An error as the client of proxied artefacts raises it."""
    answer = Response()
    answer.status_code = status
    return HTTPError(str(status), response=answer)


def caused(error: MlflowException, cause: BaseException) -> MlflowException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("away", TEMPORARILY_UNAVAILABLE),
        caused(MlflowException("closed", BAD_REQUEST), InterfaceError("SELECT", {}, Exception("closed"))),
        caused(MlflowException("gone"), OperationalError("SELECT", {}, Exception("gone"))),
        caused(MlflowException("request failed"), ConnectionRefusedError()),
    ],
)
def test_what_is_away_may_pass(error: MlflowException) -> None:
    assert may_pass(error)


def test_what_mlflow_refuses_does_not_pass() -> None:
    assert not may_pass(MlflowException("a metric's name is wrong", INVALID_PARAMETER_VALUE))


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")


def test_every_error_of_mlflow_becomes_one_of_ours(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = (
        (MlflowException("no", INVALID_PARAMETER_VALUE), TrackingRefused),
        (MlflowException("away", TEMPORARILY_UNAVAILABLE), TrackingUnavailable),
        (OperationalError("SELECT", {}, Exception("gone")), TrackingUnavailable),
        (OSError(28, "No space left on device"), TrackingUnavailable),
        (MlflowException("who?", CUSTOMER_UNAUTHORIZED), TrackingForbidden),
        (MlflowException("not you", PERMISSION_DENIED), TrackingForbidden),
        (RestException({"error_code": "INTERNAL_ERROR", "message": "a server failed inside"}), TrackingUnavailable),
        (artefacts_answer(401), TrackingForbidden),
        (artefacts_answer(403), TrackingForbidden),
        (artefacts_answer(404), TrackingRefused),
        (artefacts_answer(503), TrackingUnavailable),
    )
    for raised, expected in outcomes:

        def fail(*_args: object, error: Exception = raised, **_kwargs: object) -> None:
            raise error

        monkeypatch.setattr(tracking._client, "search_model_versions", fail)
        with pytest.raises(expected) as caught:
            tracking.forget_attempts("default", "batch")
        assert caught.value.__cause__ is raised


def test_a_password_in_the_tracking_uri_is_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = "http://trainer:s3cret@127.0.0.1:1"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    with pytest.raises(TrackingUnavailable, match=r"http://127\.0\.0\.1:1/") as caught, mlflow_errors():
        client.get_model_version_by_alias("cars", "champion")
    assert "s3cret" not in str(caught.value)
