"""Every error of the predictor in the protocol's form: a status over HTTP, a code over gRPC, one sentence."""

from __future__ import annotations

import json

import grpc
import pytest

from contract.errors import CorruptArtifact, Fault, InvalidInput, Malformed, TooLarge
from predictor import errors as others
from predictor.security.errors import Forbidden, KeysUnavailable, RateLimited, Reason, Unauthenticated
from predictor.v2 import errors, kserve_sdk
from predictor.v2.errors import error_answer
from store.errors import StoreUnavailable

kserve_sdk.prepare()

from predictor.v2.grpc_calls import code_of  # noqa: E402 - after it is made ready

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("error", "status", "code", "header"),
    [
        (errors.BadInferRequest("x"), 400, Code.INVALID_ARGUMENT, None),
        (errors.UnknownPath("x"), 404, Code.NOT_FOUND, None),
        (errors.WrongMethod("x", allow="GET"), 405, None, ("Allow", "GET")),
        (errors.NotReady("x"), 503, Code.UNAVAILABLE, ("Retry-After", "1")),
        (errors.RepositoryIsReadOnly("x"), 400, Code.FAILED_PRECONDITION, None),
        (InvalidInput([Fault("/a", "x")]), 400, Code.INVALID_ARGUMENT, None),
        (Malformed("x"), 400, Code.INVALID_ARGUMENT, None),
        (others.ClientGone("x"), 400, Code.INVALID_ARGUMENT, None),
        (others.UnknownModel("x"), 404, Code.NOT_FOUND, None),
        (others.UnknownVersion("x"), 404, Code.NOT_FOUND, None),
        (TooLarge("x", limit=1), 413, Code.RESOURCE_EXHAUSTED, None),
        (others.UnsupportedMedia("x"), 415, Code.INVALID_ARGUMENT, None),
        (Unauthenticated(Reason.MISSING, "x"), 401, Code.UNAUTHENTICATED, ("WWW-Authenticate", "Bearer")),
        (Forbidden("models:read", set()), 403, Code.PERMISSION_DENIED, ("WWW-Authenticate", "Bearer")),
        (RateLimited(rate=5, retry_after=3), 429, Code.RESOURCE_EXHAUSTED, ("Retry-After", "3")),
        (CorruptArtifact("x"), 503, Code.UNAVAILABLE, ("Retry-After", "")),
        (others.NotLoadable("x"), 503, Code.UNAVAILABLE, ("Retry-After", "10")),
        (StoreUnavailable("x"), 503, Code.UNAVAILABLE, ("Retry-After", "")),
        (KeysUnavailable("x"), 503, Code.UNAVAILABLE, ("Retry-After", "")),
        (others.ShuttingDown("x"), 503, Code.UNAVAILABLE, ("Retry-After", "5")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_has_its_status_and_its_code(
    error: Exception, status: int, code: Code | None, header: tuple[str, str] | None
) -> None:
    answer = error_answer(error, "r-1")
    assert (answer.status, answer.content_type) == (status, "application/json")
    document = json.loads(answer.body)
    assert list(document) == ["error"]
    assert document["error"]
    if header is None:
        assert answer.headers == {}
    else:
        assert answer.headers[header[0]].startswith(header[1])
    if code is not None:  # gRPC has no methods that a path could not take
        assert code_of(error) is code


def test_what_nobody_expected_says_where_its_cause_is_and_nothing_else() -> None:
    answer = error_answer(KeyError("secret"), "r-1")
    assert (answer.status, code_of(KeyError("secret"))) == (500, Code.INTERNAL)
    assert b"r-1" in answer.body
    assert b"secret" not in answer.body
