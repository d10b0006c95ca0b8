"""Errors as RFC 9457 problem documents: one table says which error is which.

PURE. Only errors of the table speak to the client; any other becomes a bare 500, whose cause stands in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.exceptions import HTTPException

from contract.errors import CorruptArtifact, Fault, InvalidInput, Malformed, TooLarge
from predictor import errors
from predictor.security.challenge import www_authenticate
from predictor.security.errors import Forbidden, KeysUnavailable, RateLimited, Refused, Unauthenticated
from store.errors import StoreUnavailable

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:telltale:problem:"


class FaultDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong: where (an RFC 6901 pointer into the body), what, what came, and the limit."""

    pointer: str
    detail: str
    value: str | None = None
    limit: str | None = None


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    instance: str | None = None
    errors: list[FaultDocument] = []
    more_errors: int = 0


@dataclass(frozen=True)
class Kind:
    """One kind of problem: its status, slug and title."""

    status: int
    slug: str
    title: str

    @property
    def type(self) -> str:
        """The problem's type, a URN."""
        return f"{TYPE_PREFIX}{self.slug}"


INTERNAL = Kind(500, "internal", "The server failed")
NOT_FOUND = Kind(404, "not-found", "No such path")
METHOD_NOT_ALLOWED = Kind(405, "method-not-allowed", "The path does not take this method")
HTTP_ERROR = Kind(400, "bad-request", "The request cannot be taken")

KINDS: dict[type[Exception], Kind] = {
    Malformed: Kind(400, "malformed-body", "The body is not JSON"),
    errors.BadHeader: Kind(400, "bad-header", "A request header cannot be taken"),
    errors.ClientGone: Kind(400, "incomplete-body", "The body ended too early"),
    errors.UnknownModel: Kind(404, "unknown-model", "No such model"),
    errors.UnknownVersion: Kind(404, "unknown-version", "No such model version"),
    errors.UnknownJob: Kind(404, "unknown-job", "No such ingest job"),
    errors.KeyBusy: Kind(409, "idempotency-key-busy", "The first request with this key has not ended"),
    TooLarge: Kind(413, "body-too-large", "The body is too large"),
    errors.UnsupportedMedia: Kind(415, "unsupported-media-type", "The body must be JSON"),
    InvalidInput: Kind(422, "invalid-input", "The request breaks a rule"),
    errors.KeyReused: Kind(422, "idempotency-key-reused", "The key was used with another body"),
    errors.TrainingFailed: Kind(500, "training-failed", "The batch was stored and its training failed"),
    StoreUnavailable: Kind(503, "store-unavailable", "A store is away or full"),
    CorruptArtifact: Kind(503, "not-loadable", "The model version cannot be loaded"),
    errors.NotLoadable: Kind(503, "not-loadable", "The model version cannot be loaded"),
    errors.ShuttingDown: Kind(503, "shutting-down", "The server is shutting down"),
    Unauthenticated: Kind(401, "unauthenticated", "A token is needed"),
    Forbidden: Kind(403, "forbidden", "The token has not the scope"),
    RateLimited: Kind(429, "rate-limited", "Too many requests"),
    KeysUnavailable: Kind(503, "keys-unavailable", "Tokens cannot be verified now"),
}
_HTTP_KINDS = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED}


class Answer(msgspec.Struct, frozen=True):
    """A whole response: what services return and routes send."""

    status: int
    body: bytes
    headers: dict[str, str] = {}
    content_type: str = "application/json"


def kind_of(error: Exception) -> Kind:
    """Return the kind of an error: of its class or the nearest base that the table knows."""
    if isinstance(error, HTTPException):
        return _HTTP_KINDS.get(error.status_code, HTTP_ERROR)
    return next((KINDS[base] for base in type(error).__mro__ if base in KINDS), INTERNAL)


def problem_of(error: Exception, *, request_id: str, path: str = "") -> Problem:
    """Return the document that tells a client about ``error``."""
    kind = kind_of(error)
    faults, more = _faults(error)
    return Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=_detail(error, kind, path),
        request_id=request_id,
        instance=f"/ingest/{error.job}" if isinstance(error, errors.TrainingFailed) else None,
        errors=faults,
        more_errors=more,
    )


def answer_of(error: Exception, *, request_id: str, path: str = "") -> Answer:
    """Return the whole response that tells a client about ``error``."""
    problem = problem_of(error, request_id=request_id, path=path)
    return Answer(problem.status, msgspec.json.encode(problem), headers_of(error), CONTENT_TYPE)


def _detail(error: Exception, kind: Kind, path: str) -> str:
    if kind is INTERNAL:
        return "this is a fault of the server, not of the request: its log has the cause under this request_id"
    if kind is NOT_FOUND:
        return f"there is nothing at {path}: GET /docs lists the paths"
    if kind is METHOD_NOT_ALLOWED:
        return f"{path} takes another method: see the Allow header, or GET /docs"
    if isinstance(error, HTTPException):
        return str(error.detail)
    if isinstance(error, InvalidInput):
        first, others = error.faults[0], len(error.faults) - 1 + error.more
        return f"{first.pointer or 'the body'}: {first.detail}" + (f" (and {others} more)" if others else "")
    return str(error)


def _faults(error: Exception) -> tuple[list[FaultDocument], int]:
    if isinstance(error, InvalidInput | errors.NotServed):
        return [_document(fault) for fault in error.faults], error.more
    if isinstance(error, TooLarge):
        return [FaultDocument("", str(error), limit=f"{error.limit} bytes")], 0
    return [], 0


def _document(fault: Fault) -> FaultDocument:
    return FaultDocument(fault.pointer, fault.detail, fault.value, fault.limit)


def headers_of(error: Exception) -> dict[str, str]:
    """Return the headers that go with an error, whatever form its body has."""
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if kind_of(error).status in (409, 503):
        retry_after: Any = getattr(error, "retry_after", 2)
        headers["Retry-After"] = str(retry_after)
    if isinstance(error, RateLimited):
        headers["Retry-After"] = str(error.retry_after)
        headers |= {name.decode(): value.decode() for name, value in error.headers}
    challenge = www_authenticate(error) if isinstance(error, Refused) else None
    if challenge is not None:
        headers["WWW-Authenticate"] = challenge
    return headers
