"""The OpenAPI document: every route with its request, answers and refusals, each with an example. PURE.

It is written by hand because the handlers read raw bodies; the schemas come from the structures that are really decoded
and encoded, and the refusals from the table that answers are made by, so they cannot drift.
"""

from __future__ import annotations

from importlib.metadata import version

from contract.telemetry import Limits
from predictor.facade import openapi_protocol, openapi_status, openapi_telemetry
from predictor.facade.openapi_parts import BEARER, Json, headers, parameters
from predictor.facade.openapi_refusals import shared
from predictor.facade.openapi_schemas import schemas

_ABOUT = """Vehicle anomaly detection: fleets send telemetry, Isolation Forests score it.

Every answer carries `X-Request-Id`. An error is an RFC 9457 problem document with the same id; below `/v2` and `/v1`
it is `{"error": "…"}`, as the Open Inference Protocol has it. Programs should look at a problem's `type`, people at its
`detail`.
"""
_TAGS = {
    openapi_telemetry.TELEMETRY: "Batches in: durable first, then trained on.",
    openapi_telemetry.SCORING: "Records in, scores out.",
    openapi_protocol.PROTOCOL: "KServe's V2: tensors in, tensors out, and what there is to know about models.",
    openapi_protocol.V1: "KServe's V1, for clients that know no other.",
    openapi_status.MODELS: "What can be served.",
    openapi_status.HEALTH: "How the server is. Needs no token.",
}
_ABOUT_TOKENS = (
    "A JWT whose `scope` holds what the operation needs: `telemetry:ingest`, `telemetry:score` or `models:read`."
    " Whether tokens are needed, and whose, is the operator's decision."
)


def document(limits: Limits | None = None, *, authenticates: bool = False) -> Json:
    """Return the whole document.

    Args:
        limits: what one request may hold; the defaults if None.
        authenticates: whether requests must carry tokens; where not, they may.

    """
    paths = (
        openapi_telemetry.telemetry_paths()
        | openapi_telemetry.scoring_paths()
        | openapi_protocol.protocol_paths()
        | openapi_protocol.v1_paths()
        | openapi_status.models_paths()
        | openapi_status.health_paths()
    )
    if not authenticates:
        _make_tokens_optional(paths)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Telltale", "version": version("telltale"), "description": _ABOUT},
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas(limits or Limits()),
            "responses": shared(paths),
            "parameters": parameters(),
            "headers": headers(),
            "securitySchemes": {
                BEARER: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": _ABOUT_TOKENS}
            },
        },
    }


def _make_tokens_optional(paths: Json) -> None:
    for path in paths.values():
        for operation in path.values():
            if operation["security"]:
                operation["security"].append({})
