"""The OpenAPI document: every route with its request, answers and problems, each with an example. PURE.

It is written by hand because the handlers read raw bodies; the schemas come from the structures that are really decoded
and encoded, so they cannot drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from contract.errors import InvalidInput, Malformed, TooLarge
from contract.telemetry import IngestBody, ScoreRecord
from predictor import errors
from predictor.facade import answers
from predictor.facade import openapi_examples as examples
from predictor.problems import CONTENT_TYPE, INTERNAL, KINDS, METHOD_NOT_ALLOWED, NOT_FOUND, Kind, Problem
from store.errors import StoreUnavailable

_REF = "#/components/schemas/{name}"
_STRUCTURES = (
    IngestBody,
    ScoreRecord,
    answers.Score,
    answers.Trained,
    answers.Accepted,
    answers.Job,
    answers.Models,
    answers.Versions,
    answers.Health,
    answers.Readiness,
    answers.Liveness,
    Problem,
)
Json = dict[str, Any]
Named = Mapping[str, tuple[str, Any]]

_BODY_PROBLEMS = tuple(
    KINDS[kind] for kind in (Malformed, errors.ClientGone, TooLarge, errors.UnsupportedMedia, InvalidInput)
)
_STORE_PROBLEMS = (KINDS[StoreUnavailable],)


def document() -> Json:
    """Return the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Telltale",
            "version": version("telltale"),
            "description": "Vehicle anomaly detection: fleets send telemetry, Isolation Forests score it. Every error"
            " is an RFC 9457 problem document, and every answer carries X-Request-Id.",
        },
        "paths": _paths(),
        "components": {"schemas": _schemas()},
    }


def _schemas() -> Json:
    _, components = msgspec.json.schema_components(_STRUCTURES, ref_template=_REF)
    return components


def _paths() -> Json:
    return {
        "/ingest": {"post": _ingest()},
        "/ingest/{job}": {"get": _job()},
        "/score": {"post": _score()},
        "/models": {"get": _get("What can be served, what is loaded, which is default", "Models", examples.MODELS)},
        "/models/{name}/versions": {"get": _versions()},
        "/health": {"get": _health()},
        "/health/ready": {"get": _ready()},
        "/healthz": {"get": _get("Whether the process answers", "Liveness", examples.ALIVE)},
        "/metrics": {"get": _metrics()},
        "/metrics/prometheus": {"get": _metrics()},
    }


def _ingest() -> Json:
    problems = (
        *_BODY_PROBLEMS,
        KINDS[errors.BadHeader],
        KINDS[errors.KeyBusy],
        KINDS[errors.KeyReused],
        KINDS[errors.TrainingFailed],
        *_STORE_PROBLEMS,
    )
    trained: Named = {
        "served": ("trained, and answering /score", examples.TRAINED),
        "not_served": ("trained, and held back", examples.NOT_SERVED),
    }
    return {
        "summary": "Append a batch of telemetry and train a model version on it",
        "description": "The batch is durable before it is acknowledged. The first batch of a model sets its features.",
        "parameters": [
            _header("Idempotency-Key", "The same key and body again train once and get the same answer.", "k-2024-01"),
            _header("Prefer", "`respond-async` answers 202 without waiting for the training.", "respond-async"),
        ],
        "requestBody": _body({"$ref": _REF.format(name="IngestBody")}, examples.INGEST_REQUESTS),
        "responses": {
            "201": _response("Trained", "Trained", trained, headers=("Location",)),
            "202": _response(
                "Accepted, and trained later: GET the Location",
                "Accepted",
                {"accepted": ("to be trained", examples.ACCEPTED)},
                headers=("Location", "Retry-After", "Preference-Applied"),
            ),
            **_problems(*problems),
        },
    }


def _job() -> Json:
    operation = _get("What became of a batch", "Job", examples.JOB, KINDS[errors.UnknownJob], *_STORE_PROBLEMS)
    return operation | {"parameters": [_path_parameter("job", "The job's id, from POST /ingest.", examples.BATCH)]}


def _score() -> Json:
    record = {"$ref": _REF.format(name="ScoreRecord")}
    score = {"$ref": _REF.format(name="Score")}
    problems = (
        *_BODY_PROBLEMS,
        KINDS[errors.UnknownModel],
        KINDS[errors.UnknownVersion],
        KINDS[errors.NotLoadable],
        KINDS[errors.ShuttingDown],
        *_STORE_PROBLEMS,
    )
    return {
        "summary": "Score a record, or an array of records in order",
        "description": "`anomaly_score` is the decision function: below 0 is anomalous. One bad record refuses all.",
        "requestBody": _body(_one_or_many(record), examples.SCORE_REQUESTS),
        "responses": {
            "200": {"description": "Scored", "content": _json(_one_or_many(score), examples.SCORES)},
            **_problems(*problems),
        },
    }


def _versions() -> Json:
    unknown = KINDS[errors.UnknownModel]
    operation = _get("A model's versions, newest first", "Versions", examples.VERSIONS, unknown, *_STORE_PROBLEMS)
    return operation | {"parameters": [_path_parameter("name", "The model's name.", "default")]}


def _health() -> Json:
    return {
        "summary": "Status with models and dependencies; 200 even when degraded",
        "responses": {"200": _response("The status", "Health", examples.HEALTH), **_problems()},
    }


def _ready() -> Json:
    not_ready: Named = {"not_ready": ("a model is being loaded", examples.NOT_READY)}
    ready: Named = {"ready": ("every served model is loaded", examples.READY)}
    return {
        "summary": "Whether every served model is loaded",
        "responses": {
            "200": _response("Ready", "Readiness", ready),
            "503": _response("Not ready", "Readiness", not_ready, headers=("Retry-After",)),
            **_problems(),
        },
    }


def _metrics() -> Json:
    example = 'telltale_http_requests_total{method="POST",route="/score",status="200"} 42.0\n'
    content = {"text/plain": {"schema": {"type": "string"}, "example": example}}
    return {
        "summary": "Metrics in Prometheus' text format",
        "responses": {"200": {"description": "The metrics", "content": content}, **_problems()},
    }


def _get(summary: str, structure: str, example: Any, *problems: Kind) -> Json:
    return {
        "summary": summary,
        "responses": {"200": _response("Found", structure, {"example": (summary, example)}), **_problems(*problems)},
    }


def _one_or_many(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}


def _body(schema: Json, named: Named) -> Json:
    return {"required": True, "content": _json(schema, named)}


def _json(schema: Json, named: Named, content_type: str = "application/json") -> Json:
    shown = {
        name: {"summary": summary, "value": msgspec.to_builtins(value)} for name, (summary, value) in named.items()
    }
    return {content_type: {"schema": schema, "examples": shown}}


def _response(description: str, structure: str, named: Named, *, headers: tuple[str, ...] = ()) -> Json:
    response: Json = {"description": description, "content": _json({"$ref": _REF.format(name=structure)}, named)}
    if headers:
        response["headers"] = {name: {"schema": {"type": "string"}} for name in headers}
    return response


def _problems(*kinds: Kind) -> Json:
    """Return the responses for ``kinds`` and for what can happen anywhere, one for each status."""
    by_status: dict[int, list[Kind]] = {}
    for kind in (*kinds, NOT_FOUND, METHOD_NOT_ALLOWED, INTERNAL):
        by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _problem_response(by_status[status]) for status in sorted(by_status)}


def _problem_response(kinds: list[Kind]) -> Json:
    named = {kind.slug: (kind.title, examples.problem_example(kind)) for kind in kinds}
    response: Json = {
        "description": "; ".join(kind.title for kind in kinds),
        "content": _json({"$ref": _REF.format(name="Problem")}, named, CONTENT_TYPE),
    }
    if kinds[0].status in (409, 503):
        response["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    if kinds[0].status == 405:
        response["headers"] = {"Allow": {"schema": {"type": "string"}}}
    return response


def _header(name: str, description: str, example: str) -> Json:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description, "example": example}


def _path_parameter(name: str, description: str, example: str) -> Json:
    shared = _header(name, description, example)
    return shared | {"in": "path", "required": True}
