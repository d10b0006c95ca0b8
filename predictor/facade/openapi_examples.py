"""The documentation's examples: requests that a new server takes, and the answers and problems they get. PURE."""

from __future__ import annotations

from datetime import UTC, datetime

from predictor.facade.answers import (
    Accepted,
    Dependencies,
    Dependency,
    Health,
    Job,
    Liveness,
    Model,
    Models,
    ModelVersion,
    Readiness,
    Score,
    ServedModel,
    Trained,
    Versions,
)
from predictor.problems import FaultDocument, Kind, Problem

VERSION = "20240115100000"
EARLIER = "20240114080000"
BATCH = "0d6f2f5e-6c1b-4f0e-9a53-5f0c5d8f7a11"
DIGEST = f"sha256:{'3f' * 32}"
REQUEST_ID = "5b1f6f0a4f0b4f6d9a0f0c5d8f7a11c2"
_RECEIVED = datetime(2024, 1, 15, 10, 0, 0, tzinfo=UTC)
_POOR = "one record makes a poor model, which cannot be evaluated: send at least 20, better several hundred"

RECORD = {"vehicle_id": "VH-001", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [0.5, 0.3, 0.8, 1.2]}
NAMED = {
    "vehicle_id": "VH-001",
    "timestamp": "2024-01-15T10:00:00Z",
    "features": {"coolant_c": 88.5, "battery_v": 13.9, "rpm": 2100},
}
INGEST_REQUESTS = {
    "positions": ("values by position", {"records": [RECORD]}),
    "names": ("values by name, for a model of its own", {"model": "vans", "records": [NAMED]}),
}
_SECOND = {"vehicle_id": "VH-002", "timestamp": "2024-01-15T10:05:00Z", "feature_vector": [0.7, 0.2, 0.9, 0.5]}
SCORE_REQUESTS = {
    "record": ("one record", _SECOND),
    "array": ("several records, answered in order", [_SECOND, RECORD]),
    "version": ("by a version other than the default", {**_SECOND, "model": "default", "model_version": VERSION}),
}

_SCORED = Score("VH-002", 0.0416, False, VERSION)
SCORES = {
    "record": ("for one record", _SCORED),
    "array": ("for an array", [_SCORED, Score("VH-001", -0.1032, True, VERSION)]),
}
TRAINED = Trained(VERSION, 1, "default", BATCH, BATCH, [_POOR], True)
NOT_SERVED = Trained(
    VERSION, 5000, "default", BATCH, BATCH, [], False, "the offline gate refused the version: scores differ"
)
ACCEPTED = Accepted(BATCH, "default", VERSION, 50_000, "queued", [])
JOB = Job(BATCH, "done", "default", VERSION, 50_000, _RECEIVED, True, None, [], "passed", None)
MODELS = Models([Model("default", VERSION, [VERSION], VERSION)])
VERSIONS = Versions(
    "default",
    VERSION,
    ["f0", "f1", "f2", "f3"],
    [
        ModelVersion(VERSION, True, True, DIGEST, 5000, _RECEIVED, "8d1c0f4b2a", "2"),
        ModelVersion(EARLIER, False, False, DIGEST, 4000, _RECEIVED, "1f7a9c3d5e", "1"),
    ],
)
_SERVED = [ServedModel("default", VERSION, DIGEST)]
_UP = Dependency(True, "answers")
_DOWN = Dependency(False, "PostgreSQL does not answer")
HEALTH = {
    "ok": ("all is well", Health("ok", _SERVED, [], Dependencies(_UP, _UP))),
    "degraded": (
        "PostgreSQL is away; scoring goes on",
        Health("degraded", _SERVED, ["postgres: PostgreSQL does not answer"], Dependencies(_DOWN, _UP)),
    ),
}
READY = Readiness(True, _SERVED, [])
NOT_READY = Readiness(False, [], ["model default"])
ALIVE = Liveness()

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
    "unknown-job": f"there is no ingest job '{BATCH}'; POST /ingest gives the job's id",
    "not-found": "there is nothing at /scores: GET /docs lists the paths",
    "method-not-allowed": "/score takes another method: see the Allow header, or GET /docs",
    "idempotency-key-busy": "the first request with Idempotency-Key 'k-1' has not ended: send this again in a while",
    "body-too-large": _TOO_LARGE,
    "unsupported-media-type": "Content-Type is 'text/csv': send Content-Type: application/json",
    "invalid-input": f"/feature_vector: {_WRONG_LENGTH}",
    "idempotency-key-reused": (
        "Idempotency-Key 'k-1' came before with another body: send that body again, or take a new key"
    ),
    "training-failed": _FAILED,
    "store-unavailable": "PostgreSQL does not answer",
    "not-loadable": f"version {VERSION} of model 'default': the forest file is damaged: a child is out of range",
    "shutting-down": "the server is shutting down",
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


def problem_example(kind: Kind) -> Problem:
    """Return an example of a kind of problem."""
    return Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=_DETAILS[kind.slug],
        request_id=REQUEST_ID,
        instance=f"/ingest/{BATCH}" if kind.slug == "training-failed" else None,
        errors=_FAULTS.get(kind.slug, []),
    )
