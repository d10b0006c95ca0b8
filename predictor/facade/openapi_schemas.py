"""The schemas of all bodies: of the structures that are really decoded and encoded, and what those cannot say. PURE.

A structure knows types. How long, how many and how large is added here from the limits that are in force, and which
fields go together. What depends on a model, above all how many features it has, no schema can say.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from contract.names import MODEL_NAME_LENGTH
from contract.telemetry import LARGEST_VALUE, RESERVED_FEATURES, IngestBody, Limits, ScoreRecord
from predictor.facade import answers
from predictor.facade.openapi_parts import Json, ref
from predictor.hotpath.score_forms import Score
from predictor.problems import Problem
from predictor.v2.errors import ErrorDocument
from predictor.v2.json_answer import InferResponse
from predictor.v2.outputs import DATATYPES
from predictor.v2.served_models import IndexEntry, ModelMetadata

MODEL_NAME_PATTERN = f"^[a-z0-9][a-z0-9_-]{{0,{MODEL_NAME_LENGTH - 1}}}$"
# What the protocol's tensors may hold when their values come as a list; halves come as bytes alone.
LISTED_DATATYPES = ["FP64", "FP32", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8"]

_STRUCTURES = (
    IngestBody,
    ScoreRecord,
    Score,
    answers.Trained,
    answers.Accepted,
    answers.Job,
    answers.Models,
    answers.Versions,
    answers.Health,
    answers.Readiness,
    answers.Liveness,
    Problem,
    ErrorDocument,
    InferResponse,
    ModelMetadata,
    IndexEntry,
)
_REF = "#/components/schemas/{name}"
_NUMBER: Json = {"type": "number", "minimum": -LARGEST_VALUE, "maximum": LARGEST_VALUE}
_TIME: Json = {"type": "string", "format": "date-time"}


def schemas(limits: Limits) -> Json:
    """Return every schema by name.

    Args:
        limits: what one request may hold.

    """
    _, components = msgspec.json.schema_components(_STRUCTURES, ref_template=_REF)
    for name in ("Record", "ScoreRecord"):
        _tighten_record(components[name], limits)
    _loosen_ingest(components["IngestBody"], limits)
    components["ScoreRecord"]["properties"]["model"]["anyOf"][0]["pattern"] = MODEL_NAME_PATTERN
    components["Job"]["properties"]["received_at"] |= _TIME
    components["ModelVersion"]["properties"]["created_at"]["anyOf"][0] |= _TIME
    for component in components.values():
        # Docstrings are written for Sphinx, and read as Markdown here.
        component["description"] = re.sub(r"``([^`]+)``", r"`\1`", component["description"])
    return components | _protocol_schemas(limits)


def _tighten_record(record: Json, limits: Limits) -> None:
    properties = record["properties"]
    properties["vehicle_id"] |= {"minLength": 1, "maxLength": limits.id_characters}
    properties["timestamp"] |= _TIME | {
        "description": "With a time zone, from 1971 to"
        f" {limits.ahead.total_seconds() / 3600:g} hours ahead of the server's clock."
    }
    properties["feature_vector"]["anyOf"][0] |= {"items": _NUMBER, "minItems": 1, "maxItems": limits.features}
    properties["features"]["anyOf"][0] |= {
        "additionalProperties": _NUMBER,
        "minProperties": 1,
        "maxProperties": limits.features,
        "propertyNames": {
            "minLength": 1,
            "maxLength": limits.id_characters,
            "not": {"enum": list(RESERVED_FEATURES)},
        },
    }
    record["oneOf"] = [_one_of("feature_vector", "array"), _one_of("features", "object")]


def _loosen_ingest(body: Json, limits: Limits) -> None:
    """Make the decoded structure the body that it is decoded from: the server knows a model where none is named."""
    body |= {"required": ["records"], "additionalProperties": False}
    body["properties"]["records"] |= {"minItems": 1, "maxItems": limits.records}
    body["properties"]["model"] |= {"pattern": MODEL_NAME_PATTERN, "description": "Without it, the default model."}


def _one_of(name: str, kind: str) -> Json:
    """Return what tells that one form of features is there, and the other is not."""
    other = "features" if name == "feature_vector" else "feature_vector"
    return {"required": [name], "properties": {name: {"type": kind}, other: {"type": "null"}}}


def _protocol_schemas(limits: Limits) -> Json:
    """Return the protocol's documents that no structure of ours stands for."""
    values: Json = {"type": "array", "items": _NUMBER}
    row = values | {"minItems": 1}
    return {
        "InferRequest": _object(
            "Rows to score, as one tensor.",
            ["inputs"],
            id=_nullable({"type": "string"}, "Comes back in the answer."),
            inputs={"type": "array", "items": ref("InputTensor"), "minItems": 1, "maxItems": 1},
            outputs=_nullable(
                {"type": "array", "items": ref("RequestedOutput"), "maxItems": len(DATATYPES)},
                "The outputs to answer with; without it all.",
            ),
            parameters=_nullable(
                _object("", [], binary_data_output={"type": "boolean"}), "`binary_data_output`: all outputs as bytes."
            ),
        ),
        "InputTensor": _object(
            "Rows of a model's features, in its order: `[rows, features]`, or `[features]` for one row.",
            ["name", "shape", "datatype", "data"],
            name={"type": "string"},
            shape={"type": "array", "items": {"type": "integer", "minimum": -1}, "minItems": 1, "maxItems": 2},
            datatype={"enum": LISTED_DATATYPES},
            data={
                "description": "All values in one list, or a list for each row.",
                "anyOf": [values, _rows(row, limits)],
            },
            parameters=_nullable({"type": "object", "properties": {"binary_data_size": False}}, "None matters here."),
        ),
        "RequestedOutput": _object(
            "An output to answer with.",
            ["name"],
            name={"enum": list(DATATYPES)},
            parameters=_nullable(_object("", [], binary_data={"type": "boolean"}), "`binary_data`: as bytes."),
        ),
        "ServerMetadata": _document(name={"type": "string"}, version={"type": "string"}, extensions=_strings()),
        "Live": _document(live={"const": True}),
        "Ready": _document(ready={"const": True}),
        "ModelReady": _document(name={"type": "string"}, ready={"const": True}),
        "ModelNames": _document(models=_strings()),
        "Index": {"type": "array", "items": ref("IndexEntry")},
        "IndexRequest": _object("", [], ready={"type": "boolean", "default": False}),
        "PredictRequest": _object(
            "Rows, or objects of features by name.",
            ["instances"],
            instances={
                "type": "array",
                "items": {"anyOf": [row, {"type": "object", "additionalProperties": _NUMBER, "minProperties": 1}]},
                "maxItems": limits.records,
            },
        ),
        "PredictResponse": _document(predictions={"type": "array", "items": ref("Prediction")}),
        "Prediction": _document(anomaly_score={"type": "number"}, is_anomaly={"type": "boolean"}),
    }


def _rows(row: Json, limits: Limits) -> Json:
    return {"type": "array", "items": row, "maxItems": limits.records}


def _strings() -> Json:
    return {"type": "array", "items": {"type": "string"}}


def _nullable(schema: Json, description: str) -> Json:
    return {"description": description, "anyOf": [schema, {"type": "null"}]}


def _document(**properties: Any) -> Json:
    """Return the schema of an answer, which has all of its fields."""
    return _object("", list(properties), **properties)


def _object(description: str, required: list[str], **properties: Any) -> Json:
    made: Json = {"type": "object", "properties": properties}
    if description:
        made["description"] = description
    return made | {"required": required} if required else made
