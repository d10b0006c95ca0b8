"""The documentation's examples of problems: one sentence for each kind, as a server would say it. PURE."""

from __future__ import annotations

from predictor.facade.openapi_examples import BATCH, EARLIER, REQUEST_ID, VERSION
from predictor.problems import FaultDocument, Kind, Problem
from predictor.security import connection_limits

_WRONG_LENGTH = "model 'default' expects 4 values (f0, f1, f2, f3); got 3"
_TEXT = "must be a number; got a string: hot"
_NO_MODEL = 'there is no model \'vans\' yet: a first batch makes it, POST /ingest {"model": "vans", "records": [...]}'
_NO_VERSION = f"model 'default' has no version '20230101000000'; it has: {VERSION}, {EARLIER}"
_TOO_LARGE = "the body has 77594624 bytes; the limit is 67108864: send the records in several requests"
_FAILED = f"the training of job {BATCH} failed: the batch's file is damaged"

_DETAILS: dict[str, str] = {
    "malformed-body": "the body is not complete JSON: it ends in the middle of a value",
    "bad-header": "Idempotency-Key must be 1 to 255 printable ASCII characters; got 0: ''",
    "incomplete-body": "the connection closed before the body was complete",
    "bad-request": "the request cannot be taken",
    "unknown-model": _NO_MODEL,
    "unknown-version": _NO_VERSION,
    "unknown-job": f"there is no ingest job '{BATCH}'; POST /ingest gives the id, which is forgotten with its batch",
    "not-found": "there is nothing at /scores: GET /docs lists the paths",
    "method-not-allowed": "/score takes another method: see the Allow header, or GET /docs",
    "idempotency-key-busy": "the first request with Idempotency-Key 'k-1' has not ended: send this again in a while",
    "body-too-large": _TOO_LARGE,
    "unsupported-media-type": (
        "Content-Type is 'text/csv': send one of application/json, application/x-ndjson and"
        " application/vnd.apache.arrow.stream"
    ),
    "invalid-input": f"/feature_vector: {_WRONG_LENGTH}",
    "idempotency-key-reused": (
        "Idempotency-Key 'k-1' came before with another body: send that body again, or take a new key"
    ),
    "training-failed": _FAILED,
    "store-unavailable": "PostgreSQL does not answer",
    "not-loadable": f"version {VERSION} of model 'default': the forest file is damaged: a child is out of range",
    "shutting-down": "the server is shutting down",
    "unauthenticated": "the token has expired: get a new one",
    "forbidden": (
        "this needs the scope telemetry:score and this token has models:read telemetry:ingest: ask for a token with it"
    ),
    "rate-limited": "more than 50 requests a second came from this subject: wait 2 s, and send fewer",
    "keys-unavailable": "the keys of the token's issuer cannot be read now: try again in a few seconds",
    "internal": "this is a fault of the server, not of the request: its log has the cause under this request_id",
}
_FAULTS: dict[str, list[FaultDocument]] = {
    "invalid-input": [
        FaultDocument("/feature_vector", _WRONG_LENGTH, "3", "4"),
        FaultDocument("/feature_vector/1", _TEXT, "hot"),
    ],
    "unknown-model": [FaultDocument("/model", _NO_MODEL, "vans")],
    "unknown-version": [FaultDocument("/model_version", _NO_VERSION, "20230101000000")],
    "body-too-large": [FaultDocument("", _TOO_LARGE, limit="67108864 bytes")],
}

# What a connection is refused for says the same each time.
_SAID: dict[str, str] = {
    refusal.kind.slug: refusal.detail
    for refusal in (
        connection_limits.MALFORMED,
        connection_limits.HEADERS_TOO_SLOW,
        connection_limits.URL_TOO_LONG,
        connection_limits.HEADERS_TOO_LARGE,
        connection_limits.TOO_MANY_CONNECTIONS,
    )
}


def detail_example(kind: Kind) -> str:
    """Return an example of what a kind of problem says."""
    return _DETAILS.get(kind.slug) or _SAID[kind.slug]


def problem_example(kind: Kind) -> Problem:
    """Return an example of a kind of problem."""
    return Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=detail_example(kind),
        request_id=REQUEST_ID,
        instance=f"/ingest/{BATCH}" if kind.slug == "training-failed" else None,
        errors=_FAULTS.get(kind.slug, []),
    )
