from __future__ import annotations

from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from sqlalchemy.exc import InterfaceError, OperationalError

from tests.trainer.conftest import MLFLOW_WARNINGS
from trainer.errors import TrackingRefused, TrackingUnavailable
from trainer.tracking import Tracking, may_pass

pytestmark = MLFLOW_WARNINGS


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
    )
    for raised, expected in outcomes:

        def fail(*_args: object, error: Exception = raised, **_kwargs: object) -> None:
            raise error

        monkeypatch.setattr(tracking._client, "search_model_versions", fail)
        with pytest.raises(expected) as caught:
            tracking.forget_attempts("default", "batch")
        assert caught.value.__cause__ is raised
