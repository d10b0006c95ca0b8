"""What the protocol's routes refuse, and the protocol's form of every error. PURE.

PredictorError
└── ProtocolError
    ├── BadInferRequest      the request breaks a rule of the protocol, or its values cannot be scored
    ├── UnknownPath          nothing is at this path
    ├── WrongMethod          the path takes another method; ``allow`` names it
    ├── NotReady             the server or a model is asked whether it is ready, and is not
    └── RepositoryIsReadOnly load and unload: what is served is decided elsewhere

Errors of other parts keep the status that :mod:`predictor.problems` gives them, but for 422: the protocol calls every
request that it cannot take a bad request, 400.
"""

from __future__ import annotations

import msgspec

from contract.errors import shown
from predictor.errors import PredictorError
from predictor.problems import INTERNAL, Answer, headers_of, kind_of, problem_of


class ProtocolError(PredictorError):
    """Base of what the protocol's routes refuse."""


class BadInferRequest(ProtocolError):
    """The request breaks a rule of the protocol, or its values cannot be scored."""


class UnknownPath(ProtocolError):
    """Nothing is at this path."""


class WrongMethod(ProtocolError):
    """The path takes another method."""

    def __init__(self, detail: str, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow


class NotReady(ProtocolError):
    """The server or a model was asked whether it is ready, and is not."""

    retry_after = 1


class RepositoryIsReadOnly(ProtocolError):
    """Models are neither loaded nor unloaded by clients."""


_STATUS: dict[type[ProtocolError], int] = {
    BadInferRequest: 400,
    UnknownPath: 404,
    WrongMethod: 405,
    NotReady: 503,
    RepositoryIsReadOnly: 400,
}


class ErrorDocument(msgspec.Struct, frozen=True):
    """The protocol's form of an error."""

    error: str


def read_only(model: str, done: str) -> str:
    """Return the sentence for a model that a client would have loaded or unloaded."""
    return (
        f"models are not {done} by clients: what is served follows the registry, and any version of {shown(model)!r} is"
        " loaded when a request names it"
    )


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error on the protocol's routes."""
    if isinstance(error, ProtocolError):
        return _STATUS[type(error)]
    status = kind_of(error).status
    return 400 if status == 422 else status


def sentence_of(error: Exception, request_id: str) -> str:
    """Return what a client is told about an error; of an unexpected one only where its cause can be found."""
    if isinstance(error, ProtocolError):
        return str(error)
    if kind_of(error) is INTERNAL:
        return f"the server failed, and not because of the request: its log has the cause under request id {request_id}"
    return problem_of(error, request_id=request_id).detail


def error_answer(error: Exception, request_id: str) -> Answer:
    """Return the whole response that tells a client about ``error`` in the protocol's form."""
    body = msgspec.json.encode(ErrorDocument(sentence_of(error, request_id)))
    return Answer(status_of(error), body, _headers(error))


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, WrongMethod):
        return {"Allow": error.allow}
    if isinstance(error, NotReady):
        return {"Retry-After": str(error.retry_after)}
    return {} if isinstance(error, ProtocolError) else headers_of(error)
