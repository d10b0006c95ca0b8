"""Every answer that refuses: as a problem document on our own routes, as ``{"error"}`` on the protocol's. PURE.

Statuses and titles come from the table that answers really are made by, so they cannot drift.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from contract.errors import InvalidInput, Malformed, TooLarge
from predictor import errors
from predictor.facade.openapi_parts import JSON, LIMITED, Json, answer, content, ref
from predictor.facade.openapi_problem_examples import detail_example, problem_example
from predictor.hotpath.exchange import Scope
from predictor.problems import CONTENT_TYPE, INTERNAL, KINDS, METHOD_NOT_ALLOWED, NOT_FOUND, Kind
from predictor.security import connection_limits
from predictor.security.errors import Forbidden, KeysUnavailable, RateLimited, Unauthenticated
from predictor.v2.errors import ErrorDocument
from store.errors import StoreUnavailable

BODY = tuple(KINDS[kind] for kind in (Malformed, errors.ClientGone, TooLarge, errors.UnsupportedMedia, InvalidInput))
STORE = (KINDS[StoreUnavailable],)
UNKNOWN = (KINDS[errors.UnknownModel], KINDS[errors.UnknownVersion])
DAMAGED = (KINDS[errors.NotLoadable],)

_ADMISSION = tuple(KINDS[kind] for kind in (Unauthenticated, Forbidden, RateLimited, KeysUnavailable))
_ANYWHERE = (METHOD_NOT_ALLOWED, INTERNAL, KINDS[errors.ShuttingDown])
# What a connection is refused for: problem documents everywhere, because nobody has looked at the path yet.
_CONNECTION = tuple(
    refusal.kind
    for refusal in (
        connection_limits.MALFORMED,
        connection_limits.HEADERS_TOO_SLOW,
        connection_limits.URL_TOO_LONG,
        connection_limits.HEADERS_TOO_LARGE,
        connection_limits.TOO_MANY_CONNECTIONS,
    )
)
_HEADERS = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    405: ("Allow",),
    409: ("Retry-After",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_UNPROCESSABLE = 422
_BAD_REQUEST = 400
# Before a request is admitted nothing is known of its quota; and some come before it is a request at all.
_NEVER_LIMITED = (401, 403, 408, 414, 431)


@dataclass(frozen=True)
class Refusal:
    """One answer that refuses: its name among the examples, what it means, and its body in one form."""

    status: int
    name: str
    title: str
    content_type: str
    schema: str
    example: Any


def problem(kind: Kind) -> Refusal:
    """Return a refusal as our own routes put it."""
    return Refusal(kind.status, kind.slug, kind.title, CONTENT_TYPE, "Problem", problem_example(kind))


def protocol_error(status: int, name: str, title: str, sentence: str) -> Refusal:
    """Return a refusal as the Open Inference Protocol puts it."""
    return Refusal(status, name, title, JSON, "ErrorDocument", ErrorDocument(sentence))


def protocol_errors(kinds: Iterable[Kind]) -> tuple[Refusal, ...]:
    """Return kinds of problems as the protocol puts them: it knows no 422."""
    return tuple(
        protocol_error(
            _BAD_REQUEST if kind.status == _UNPROCESSABLE else kind.status, kind.slug, kind.title, detail_example(kind)
        )
        for kind in kinds
    )


def problems(*kinds: Kind, scope: Scope | None, has_parameters: bool = False) -> Json:
    """Return the answers by which one of our own routes refuses, by status: its ``kinds``, and those of any route."""
    all_kinds = [*kinds, *(_ADMISSION if scope else ()), *([NOT_FOUND] if has_parameters else []), *_ANYWHERE]
    return _responses([problem(kind) for kind in (*all_kinds, *_CONNECTION)], is_limited=scope is not None)


def errors_of_protocol(own: Sequence[Refusal], *, scope: Scope | None) -> Json:
    """Return the answers by which a route of the protocol refuses, by status."""
    # What needs no token reads no body.
    anywhere = (*((*_ADMISSION, KINDS[TooLarge], KINDS[errors.ClientGone]) if scope else ()), *_ANYWHERE)
    refusals = [*own, *protocol_errors(anywhere), *(problem(kind) for kind in _CONNECTION)]
    return _responses(refusals, is_limited=scope is not None)


def _responses(refusals: Sequence[Refusal], *, is_limited: bool) -> Json:
    by_status: dict[int, list[Refusal]] = {}
    for refusal in refusals:
        by_status.setdefault(refusal.status, []).append(refusal)
    return {str(status): _response(by_status[status], is_limited=is_limited) for status in sorted(by_status)}


def _response(refusals: Sequence[Refusal], *, is_limited: bool) -> Json:
    status = refusals[0].status
    limited = LIMITED if is_limited and status not in _NEVER_LIMITED else ()
    forms = []
    for content_type in dict.fromkeys(refusal.content_type for refusal in refusals):
        same = [refusal for refusal in refusals if refusal.content_type == content_type]
        named = {refusal.name: (refusal.title, refusal.example) for refusal in same}
        forms.append(content(ref(same[0].schema), named, content_type))
    titles = dict.fromkeys(refusal.title for refusal in refusals)
    return answer("; ".join(titles), *forms, headers=(*_HEADERS.get(status, ()), *limited))


def shared(paths: Json) -> Json:
    """Move refusals out of ``paths``, which many operations have in common, and return them by name.

    Raises:
        ValueError: two that differ would have the same name.

    """
    components: Json = {}
    for path in paths.values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if int(status) >= _BAD_REQUEST:
                    name = _name_of(status, response)
                    if components.setdefault(name, response) != response:
                        raise ValueError(f"two refusals are called {name}")
                    operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    return components


def _name_of(status: str, response: Json) -> str:
    names = [name for form in response["content"].values() for name in form["examples"]]
    is_error = JSON in response["content"]
    is_limited = LIMITED[0] in response["headers"]
    return ".".join([status, *names, *["error"] * is_error, *["limited"] * is_limited])
