"""A bearer token's envelope: taken from the Authorization header, its header read, its signature verified. PURE.

Before a signature is verified nothing of a token is believed but which key it names. ``jku``, ``x5u``, ``jwk`` and
the like are never looked at; a token that declares an extension critical (``crit``) is refused: none is known here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import jwt

from predictor.security.errors import Reason, Unauthenticated
from predictor.security.keys import MAX_KID_CHARACTERS, VerificationKey

MAX_TOKEN_BYTES = 8 * 1024

_SCHEME = b"bearer "
# The signature may be empty, so that unsigned tokens are refused for their algorithm and counted as that.
_COMPACT = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_TYPES = {"jwt", "at+jwt", "application/at+jwt"}
_JWS = jwt.PyJWS()


class Envelope(NamedTuple):
    """What a token's header says, unverified: the algorithm, and the key's id."""

    algorithm: str
    kid: str | None


def bearer_token(header: bytes | None) -> bytes:
    """Return the token of an Authorization header (RFC 6750); Unauthenticated if there is none, or it is too long."""
    if not header:
        raise Unauthenticated(
            Reason.MISSING, "this needs a token: send it in the header Authorization, after the word Bearer"
        )
    if header[:7].lower() != _SCHEME:
        raise _malformed("the Authorization header must be the word Bearer, a space and the token")
    token = header[7:].strip(b" ")
    if len(token) > MAX_TOKEN_BYTES:
        raise _malformed(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    if not _COMPACT.fullmatch(token):
        raise _malformed("the token is no signed JWT: three parts in base64url, with dots between them")
    return token


def read_envelope(token: bytes, algorithms: AbstractSet[str]) -> Envelope:
    """Return what the header of a token says; Unauthenticated if it cannot be one that ``algorithms`` verify."""
    fields = json_object(_decoded(token.partition(b".")[0]), "header")
    algorithm = fields.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise Unauthenticated(
            Reason.ALGORITHM_REFUSED, f"the token must be signed with {' or '.join(sorted(algorithms))}"
        )
    if "crit" in fields or "b64" in fields:
        raise _malformed("the token needs an extension (crit) that this server does not have")
    if not isinstance(fields.get("typ", "JWT"), str) or fields.get("typ", "JWT").lower() not in _TYPES:
        raise _malformed("the token is of another type (typ) than JWT or at+jwt")
    kid = fields.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARACTERS):
        raise _malformed(f"the key id (kid) of the token is no string of 1 to {MAX_KID_CHARACTERS} characters")
    return Envelope(algorithm, kid)


def verified_claims(token: bytes, key: VerificationKey, algorithm: str) -> dict[str, Any]:
    """Return the claims of a token whose signature ``key`` verifies; Unauthenticated for any other."""
    if algorithm != key.algorithm:
        raise Unauthenticated(
            Reason.ALGORITHM_REFUSED,
            f"the key that the token names is for {key.algorithm}, which it is not signed with",
        )
    try:
        decoded = _JWS.decode_complete(token, key.jwk, [key.algorithm], {"enforce_minimum_key_length": True})
    except jwt.InvalidSignatureError as error:
        raise Unauthenticated(
            Reason.BAD_SIGNATURE, "the signature of the token is not by the key that it names: get a new token"
        ) from error
    except jwt.PyJWTError as error:
        raise _malformed("the token cannot be read: get a new one") from error
    return json_object(decoded["payload"], "payload")


def json_object(data: bytes, part: str) -> dict[str, Any]:
    """Return a JSON object; Unauthenticated for anything else, NaN, and names that come twice (RFC 8725, 2.6)."""
    try:
        parsed = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"the {part} of the token is no JSON object whose names are unique") from error
    if not isinstance(parsed, dict):
        raise _malformed(f"the {part} of the token is no JSON object")
    return parsed


def _decoded(segment: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except ValueError as error:
        raise _malformed("the header of the token is not in base64url") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name comes twice")
    return fields


def _no_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _malformed(detail: str) -> Unauthenticated:
    return Unauthenticated(Reason.MALFORMED, detail)
