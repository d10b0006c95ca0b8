"""The pieces that the OpenAPI document is built of: operations, bodies, answers and their headers. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from predictor.hotpath.exchange import Scope

Json = dict[str, Any]
# Examples by name: a summary and the value.
Named = Mapping[str, tuple[str, Any]]

JSON = "application/json"
BEARER = "bearer"
REQUEST_ID = "X-Request-Id"
LIMITED = ("RateLimit", "RateLimit-Policy")

_TEXT: Json = {"type": "string"}
_SECONDS: Json = {"type": "integer", "minimum": 1}


def ref(name: str) -> Json:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def one_or_many(schema: Json) -> Json:
    """Return the schema of a document, or of a list of them."""
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}


def operation(
    summary: str,
    *,
    tag: str,
    key: str,
    responses: Json,
    scope: Scope | None = None,
    description: str = "",
    parameters: Sequence[Json] = (),
    body: Json | None = None,
) -> Json:
    """Return what a method does on a path.

    Args:
        summary: a sentence.
        tag: the group that it stands in.
        key: the operation's id, for generated clients.
        responses: by status.
        scope: what a token must hold; None where none is needed.
        description: more sentences.
        parameters: beside the request's id, which every operation takes.
        body: what it reads.

    """
    needs = f"Where tokens are needed, this one must hold the scope `{scope}`." if scope else "Needs no token."
    made: Json = {
        "tags": [tag],
        "summary": summary,
        "description": f"{description} {needs}".strip(),
        "operationId": key,
        "parameters": [{"$ref": f"#/components/parameters/{REQUEST_ID}"}, *parameters],
        "responses": responses,
        "security": [{BEARER: [scope]}] if scope else [],
    }
    return made if body is None else made | {"requestBody": body}


def request_body(*contents: Json, required: bool = True) -> Json:
    """Return the body of a request in one of several forms."""
    return {"required": required, "content": merged(contents)}


def content(schema: Json, named: Named, content_type: str = JSON) -> Json:
    """Return one form of a body, with examples."""
    shown = {
        name: {"summary": summary, "value": msgspec.to_builtins(value)} for name, (summary, value) in named.items()
    }
    return {content_type: {"schema": schema, "examples": shown}}


def binary(content_type: str) -> Json:
    """Return a form of a body that JSON cannot show."""
    return {content_type: {"schema": {"type": "string", "format": "binary"}}}


def answer(description: str, *contents: Json, headers: Sequence[str] = (), links: Json | None = None) -> Json:
    """Return an answer; the headers, beside the request's id, are names of :func:`headers`."""
    made: Json = {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in (REQUEST_ID, *headers)},
        "content": merged(contents),
    }
    return made if links is None else made | {"links": links}


def merged(contents: Sequence[Json]) -> Json:
    """Return several forms of a body as one mapping."""
    return {content_type: one for form in contents for content_type, one in form.items()}


def header(name: str, description: str, schema: Json | None = None) -> Json:
    """Return a header that a request may have; without an example, which the page of the documentation would send."""
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema or _TEXT}


def in_path(name: str, description: str, example: str, **schema: Any) -> Json:
    """Return a part of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1, **schema},
        "example": example,
    }


def parameters() -> Json:
    """Return the parameters that every operation takes."""
    words = (
        "Your own id for this request, such as `night-run-0042`: 1 to 128 printable ASCII characters. The answer, the"
        " log and the traces carry it. Without one, or instead of one that is none, the server makes it."
    )
    return {REQUEST_ID: header(REQUEST_ID, words)}


def headers() -> Json:
    """Return the headers of answers, by name."""
    return {
        REQUEST_ID: _answered("The request's id; the server's log has it.", {**_TEXT, "minLength": 1}, required=True),
        "Retry-After": _answered("Seconds after which to send the same request again.", _SECONDS, required=True),
        "WWW-Authenticate": _answered("How to ask, and what was wrong with the token (RFC 6750).", required=True),
        "Allow": _answered("The methods that the path takes.", required=True),
        "Location": _answered("The job: GET tells what became of the batch.", required=True),
        "Preference-Applied": _answered("`respond-async`, if the request preferred that."),
        "RateLimit": _answered("Where requests are limited: `r` of them are left, all again in `t` seconds."),
        "RateLimit-Policy": _answered("Where requests are limited: `q` requests in `w` seconds."),
        "Inference-Header-Content-Length": _answered(
            "The length of the JSON in front of binary tensors, in bytes.", {"type": "integer", "minimum": 2}
        ),
    }


def _answered(description: str, schema: Json | None = None, *, required: bool = False) -> Json:
    return {"description": description, "required": required, "schema": schema or _TEXT}
