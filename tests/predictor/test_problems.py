"""Problem documents: every error has its kind, every kind its documentation, and no traceback leaves the server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from contract.errors import ContractError, CorruptArtifact, Fault, InvalidInput, Malformed
from predictor import errors
from predictor.facade.openapi_problem_examples import problem_example
from predictor.problems import (
    HTTP_ERROR,
    INTERNAL,
    KINDS,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    Kind,
    answer_of,
    kind_of,
    problem_of,
)
from predictor.security import connection_limits
from predictor.security.errors import Forbidden, KeysUnavailable, RateLimited, Reason, Refused, Unauthenticated
from predictor.v2.errors import ProtocolError
from store.errors import StoreUnavailable

CONNECTION_KINDS = {
    refusal.kind
    for refusal in vars(connection_limits).values()
    if isinstance(refusal, connection_limits.ConnectionRefusal)
}
ALL_KINDS = sorted(
    {*KINDS.values(), INTERNAL, NOT_FOUND, METHOD_NOT_ALLOWED, HTTP_ERROR, *CONNECTION_KINDS},
    key=lambda kind: (kind.status, kind.slug, kind.title),
)
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "errors.md"


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.slug)
def test_every_kind_is_documented_and_has_an_example(kind: Kind) -> None:
    """docs/errors.md lists slug and status; the OpenAPI document shows one of each."""
    assert f"| `{kind.slug}` | {kind.status} |" in DOCUMENTATION.read_text()
    assert problem_example(kind).type == f"urn:telltale:problem:{kind.slug}"


def test_the_documentation_lists_no_kind_that_there_is_not() -> None:
    """A row of the past would send people looking."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", DOCUMENTATION.read_text(), re.MULTILINE)
    assert {(slug, int(status)) for slug, status in rows} == {(kind.slug, kind.status) for kind in ALL_KINDS}
    assert len(rows) == len(set(rows))


def _below(base: type[Exception]) -> set[type[Exception]]:
    return {base} | {deeper for child in base.__subclasses__() for deeper in _below(child)}


@pytest.mark.parametrize("error", sorted(_below(ContractError) - {ContractError}, key=lambda error: error.__name__))
def test_every_error_about_input_has_a_kind(error: type[Exception]) -> None:
    """A new one must be mapped."""
    assert any(base in KINDS for base in error.__mro__)


@pytest.mark.parametrize(
    "error", sorted(_below(errors.PredictorError) - _below(ProtocolError), key=lambda error: error.__name__)
)
def test_every_error_of_the_predictor_has_a_kind(error: type[Exception]) -> None:
    """All but the bases, the one that ends the process before any request, and the protocol's with its own form."""
    ends_the_process = {errors.PredictorError, errors.NotServed, errors.CannotListen, Refused}
    assert error in ends_the_process or error in KINDS


def test_any_other_error_says_nothing_of_itself() -> None:
    """The cause is for the log."""
    answer = answer_of(KeyError("secret"), request_id="r-1")
    assert (answer.status, b"secret" in answer.body, b"r-1" in answer.body) == (500, False, True)


def test_faults_are_listed_and_counted() -> None:
    """The detail has the first, the list all that are shown, the number the rest."""
    error = InvalidInput([Fault("/a", "is odd", "3", "2"), Fault("/b", "is missing")], more=5)
    problem = problem_of(error, request_id="r")
    assert problem.detail == "/a: is odd (and 6 more)"
    assert [fault.pointer for fault in problem.errors] == ["/a", "/b"]
    assert problem.more_errors == 5


def test_what_may_pass_says_when_to_try_again() -> None:
    """Retry-After on 409, 429 and 503 alone."""
    assert answer_of(StoreUnavailable("x", retry_after=30), request_id="r").headers == {"Retry-After": "30"}
    assert answer_of(errors.KeyBusy("x"), request_id="r").headers == {"Retry-After": "1"}
    assert answer_of(CorruptArtifact("x"), request_id="r").headers == {"Retry-After": "2"}
    assert answer_of(RateLimited(rate=5, retry_after=7), request_id="r").headers == {"Retry-After": "7"}
    assert answer_of(KeysUnavailable("x"), request_id="r").headers == {"Retry-After": "5"}
    assert answer_of(Malformed("x"), request_id="r").headers == {}


def test_who_is_refused_learns_how_to_ask() -> None:
    """WWW-Authenticate on 401 and 403 (RFC 6750)."""
    nobody = answer_of(Unauthenticated(Reason.MISSING, "no token"), request_id="r")
    assert (nobody.status, nobody.headers) == (401, {"WWW-Authenticate": 'Bearer realm="telltale"'})
    poor = answer_of(Forbidden("models:read", {"telemetry:score"}), request_id="r")
    assert poor.status == 403
    assert 'scope="models:read"' in poor.headers["WWW-Authenticate"]


def test_a_framework_error_keeps_its_headers() -> None:
    """Allow, above all."""
    answer = answer_of(HTTPException(405, headers={"Allow": "POST"}), request_id="r")
    assert (answer.status, answer.headers) == (405, {"Allow": "POST"})
    assert kind_of(HTTPException(404)) is NOT_FOUND
