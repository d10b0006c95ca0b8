"""The documentation of ``/ingest`` and its jobs, and of ``/score`` with its three content types. PURE."""

from __future__ import annotations

from predictor import errors
from predictor.facade import openapi_examples as examples
from predictor.facade import openapi_refusals as refusals
from predictor.facade.openapi_parts import (
    LIMITED,
    Json,
    Named,
    answer,
    binary,
    content,
    header,
    in_path,
    one_or_many,
    operation,
    ref,
    request_body,
)
from predictor.hotpath.score_forms import ARROW, NDJSON
from predictor.problems import KINDS

TELEMETRY = "Telemetry"
SCORING = "Scoring"

_SCORE = """`anomaly_score` is the decision function: below 0 is anomalous. One bad record refuses all.

The answer has the form of the request, whatever `Accept` says:

- `application/json`: a record, or an array of records answered in order. Each may name a model and a version.
- `application/x-ndjson` (also `application/ndjson` and `application/jsonl`): a record on each line.
- `application/vnd.apache.arrow.stream`: an Arrow IPC stream, not compressed, with the columns `vehicle_id` (strings),
  `timestamp` (with a time zone), and either `feature_vector` (lists of numbers) or a column of numbers for each
  feature; `model` and `model_version` may be columns too, with one value throughout. The answer has the columns
  `vehicle_id`, `anomaly_score`, `is_anomaly` and `model_version`.
"""
_LINES = {"type": "string"}


def telemetry_paths() -> Json:
    """Return the paths that batches go in by."""
    return {"/ingest": {"post": _ingest()}, "/ingest/{job}": {"get": _job()}}


def scoring_paths() -> Json:
    """Return the path that scores records."""
    return {"/score": {"post": _score()}}


def _ingest() -> Json:
    kinds = (errors.BadHeader, errors.KeyBusy, errors.KeyReused, errors.TrainingFailed)
    return operation(
        "Append a batch of telemetry and train a model version on it.",
        tag=TELEMETRY,
        key="ingest",
        scope="telemetry:ingest",
        description="The batch is durable before it is acknowledged. The first batch of a model sets its features.",
        parameters=(
            header(
                "Idempotency-Key",
                "Such as `night run 2024-01-15`: the same key and body again train once and get the same answer.",
                {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
            ),
            header("Prefer", "`respond-async` answers 202 without waiting for the training."),
        ),
        body=request_body(content(ref("IngestBody"), examples.INGEST_REQUESTS)),
        responses={
            "201": _trained(),
            "202": _accepted(),
            **refusals.problems(
                *refusals.BODY, *(KINDS[kind] for kind in kinds), *refusals.STORE, scope="telemetry:ingest"
            ),
        },
    )


def _trained() -> Json:
    named: Named = {
        "served": ("trained, and answering /score", examples.TRAINED),
        "not_served": ("trained, and held back", examples.NOT_SERVED),
    }
    return answer("Trained.", content(ref("Trained"), named), headers=("Location", *LIMITED), links=_to_job())


def _accepted() -> Json:
    return answer(
        "Accepted, and trained later: GET the Location.",
        content(ref("Accepted"), {"accepted": ("to be trained", examples.ACCEPTED)}),
        headers=("Location", "Retry-After", "Preference-Applied", *LIMITED),
        links=_to_job(),
    )


def _to_job() -> Json:
    return {"job": {"operationId": "ingestJob", "parameters": {"job": "$response.body#/job"}}}


def _job() -> Json:
    kinds = (KINDS[errors.UnknownJob], *refusals.STORE)
    return operation(
        "Tell what became of a batch.",
        tag=TELEMETRY,
        key="ingestJob",
        scope="telemetry:ingest",
        parameters=(in_path("job", "The job's id, from POST /ingest.", examples.BATCH, format="uuid"),),
        responses={
            "200": answer("Known.", content(ref("Job"), {"job": ("a job", examples.JOB)}), headers=LIMITED),
            **refusals.problems(*kinds, scope="telemetry:ingest", has_parameters=True),
        },
    )


def _score() -> Json:
    kinds = (*refusals.BODY, *refusals.UNKNOWN, *refusals.DAMAGED, *refusals.STORE)
    return operation(
        "Score a record, or many records in order.",
        tag=SCORING,
        key="score",
        scope="telemetry:score",
        description=_SCORE,
        body=request_body(
            content(one_or_many(ref("ScoreRecord")), examples.SCORE_REQUESTS),
            content(_LINES, {"lines": ("a record on each line", examples.SCORE_LINES)}, NDJSON),
            binary(ARROW),
        ),
        responses={
            "200": answer(
                "Scored.",
                content(one_or_many(ref("Score")), examples.SCORES),
                content(_LINES, {"lines": ("a score on each line", examples.SCORED_LINES)}, NDJSON),
                binary(ARROW),
                headers=LIMITED,
            ),
            **refusals.problems(*kinds, scope="telemetry:score"),
        },
    )
