"""The documentation's examples: requests that a new server takes, and the answers and problems they get. PURE."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec

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
    ServedModel,
    Trained,
    Versions,
)
from predictor.hotpath.score_forms import Score

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
SCORE_LINES = "\n".join(json.dumps(record) for record in (_SECOND, RECORD)) + "\n"
SCORE_REQUESTS = {
    "record": ("one record", _SECOND),
    "array": ("several records, answered in order", [_SECOND, RECORD]),
    "version": ("by a version other than the default", {**_SECOND, "model": "default", "model_version": VERSION}),
}

_SCORED = Score("VH-002", 0.0416, False, VERSION)
_IN_ORDER = [_SCORED, Score("VH-001", -0.1032, True, VERSION)]
SCORES = {"record": ("for one record", _SCORED), "array": ("for an array", _IN_ORDER)}
SCORED_LINES = msgspec.json.Encoder().encode_lines(_IN_ORDER).decode()
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
NOT_READY = Readiness(False, [], ["model default is not loaded yet"])
ALIVE = Liveness()
