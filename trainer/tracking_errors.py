"""What MLflow's client raises, turned into ours: from a database, from files, and over HTTP.

Three verdicts: it may pass (something is away, or a server of MLflow's fails inside), it does not let us in (a person
has to mend an account), it refuses what it was asked (trying again would change nothing).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException, RestException
from requests.exceptions import HTTPError
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from contract.redaction import without_credentials
from trainer.errors import TrackingForbidden, TrackingRefused, TrackingUnavailable

_PASSING = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
# A server that fails inside; without a server, this is what MLflow's client calls its own faults.
_SERVER_FAULT = "INTERNAL_ERROR"
# OSError covers the connection errors of requests too.
_AWAY = (OperationalError, InterfaceError, PoolTimeout, OSError)
_WHAT_TO_DO = {
    401: "it does not know us: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account of its own",
    403: "the account of MLFLOW_TRACKING_USERNAME may not do this: an administrator of MLflow has to give it the role"
    " telltale-trainer",
}
_STATUS = {"UNAUTHENTICATED": 401, "CUSTOMER_UNAUTHORIZED": 401, "PERMISSION_DENIED": 403}


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn what MLflow raises into ours: its own errors, its database's, and those of the files that it writes.

    Raises:
        TrackingForbidden, TrackingRefused, TrackingUnavailable: instead.

    """
    try:
        yield
    except MlflowException as error:
        if status := _STATUS.get(str(error.error_code)):
            raise TrackingForbidden(f"MLflow: {_WHAT_TO_DO[status]}") from error
        kind = TrackingUnavailable if may_pass(error) else TrackingRefused
        raise kind(f"MLflow: {error.error_code}: {without_credentials(str(error.message))}") from error
    except HTTPError as error:  # of artefacts, which go past MLflow's own errors
        status = 0 if error.response is None else error.response.status_code
        if status in _WHAT_TO_DO:
            raise TrackingForbidden(f"MLflow: {_WHAT_TO_DO[status]}") from error
        kind = TrackingRefused if 400 <= status < 500 else TrackingUnavailable
        raise kind(f"MLflow's artefacts: {without_credentials(str(error))}") from error
    except (SQLAlchemyError, OSError) as error:
        raise TrackingUnavailable(f"MLflow's store: {without_credentials(str(error))}") from error


def may_pass(error: MlflowException) -> bool:
    """Tell whether MLflow failed because something behind it is away, not because of what it was asked."""
    if error.error_code in _PASSING:
        return True
    if isinstance(error, RestException) and error.error_code == _SERVER_FAULT:
        return True
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _AWAY):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
