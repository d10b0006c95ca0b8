"""The keys that verify tokens, read from a secret or a JSON Web Key Set (RFC 7517). PURE.

Which algorithm a key verifies follows from what the key is, never from a token: RSA keys verify RS256, keys on P-256
ES256, and a secret HS256. Keys that do not fit, or are too weak, are left out, each with a reason. Only public members
are read, so a set that holds private keys by mistake gives nothing away here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import jwt

from predictor.security.errors import SecurityMisconfigured

HS256, RS256, ES256 = "HS256", "RS256", "ES256"
PUBLIC_KEY_ALGORITHMS = frozenset({RS256, ES256})

# RFC 7518, 3.2: an HS256 key has at least the 256 bits of the hash.
MIN_SECRET_BYTES = 32
MAX_KEYS = 100
MAX_KID_CHARACTERS = 256
_RSA_BITS = range(2048, 8193)

_MEMBERS = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y")}
_ALGORITHM_OF = {"RSA": RS256, "EC": ES256}


class BadKeySet(Exception):
    """A document is no JSON Web Key Set, or has no key that can be used."""


@dataclass(frozen=True)
class VerificationKey:
    """One key: its id, the only algorithm that it verifies, and the members that make it this key and no other."""

    kid: str | None
    algorithm: str
    members: str = field(repr=False)
    jwk: jwt.PyJWK = field(repr=False, compare=False)


@dataclass(frozen=True)
class KeySet:
    """Keys by id; ``left_out`` says which members of the document cannot be used, and why."""

    keys: tuple[VerificationKey, ...] = ()
    left_out: tuple[str, ...] = ()

    def find(self, kid: str | None) -> VerificationKey | None:
        """Return the key that a token names; one that names none means the only key, if there is only one."""
        if kid is None:
            return self.keys[0] if len(self.keys) == 1 else None
        return next((key for key in self.keys if key.kid == kid), None)


def secret_key(secret: bytes) -> VerificationKey:
    """Return the HS256 key of a shared secret.

    Raises:
        SecurityMisconfigured: the secret is shorter than 32 bytes, or is a public key or certificate.

    """
    if len(secret) < MIN_SECRET_BYTES:
        raise SecurityMisconfigured(
            f"the secret for HS256 has {len(secret)} bytes and needs at least {MIN_SECRET_BYTES}: make one with"
            " `openssl rand -base64 48`"
        )
    try:
        jwt.get_algorithm_by_name(HS256).prepare_key(secret)
    except jwt.InvalidKeyError as refusal:
        raise SecurityMisconfigured(
            "the secret for HS256 is a public key, a certificate or a JWK, which others know: set a random secret, or"
            " give the key set's address (TELLTALE_AUTH_JWKS_URL) to verify RS256 and ES256"
        ) from refusal
    k = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    return VerificationKey(None, HS256, "secret", jwt.PyJWK({"kty": "oct", "k": k}, HS256))


def read_key_set(document: bytes) -> KeySet:
    """Return the usable keys of a JSON Web Key Set.

    Raises:
        BadKeySet: it is no JSON object with ``keys``, or none of them can be used.

    """
    keys: list[VerificationKey] = []
    left_out: list[str] = []
    seen: set[str | None] = set()
    for position, member in enumerate(_members(document)):
        try:
            key = _public_key(member, seen)
        except BadKeySet as reason:
            left_out.append(f"key {position}: {reason}")
        else:
            seen.add(key.kid)
            keys.append(key)
    if not keys:
        raise BadKeySet("; ".join(left_out[:5]) or "the key set is empty")
    return KeySet(tuple(keys), tuple(left_out))


def _members(document: bytes) -> list[Any]:
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise BadKeySet("the key set is not JSON") from error
    members = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(members, list):
        raise BadKeySet("the key set is no JSON object with an array named keys")
    if len(members) > MAX_KEYS:
        raise BadKeySet(f"the key set has {len(members)} keys; {MAX_KEYS} are the most that are read")
    return members


def _public_key(member: object, seen: AbstractSet[str | None]) -> VerificationKey:
    if not isinstance(member, dict):
        raise BadKeySet("it is no JSON object")
    kid = member.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARACTERS):
        raise BadKeySet(f"its kid is no string of 1 to {MAX_KID_CHARACTERS} characters")
    if kid in seen:
        raise BadKeySet("a key before it has the same kid")
    algorithm = _algorithm(member)
    public = {name: member[name] for name in _MEMBERS[member["kty"]] if name in member}
    try:
        jwk = jwt.PyJWK(public, algorithm)
    except jwt.PyJWTError as error:
        raise BadKeySet(f"it is no key for {algorithm}") from error
    # PyJWT gives cryptography's key; only RSA's has sizes that differ.
    if algorithm == RS256 and jwk.key.key_size not in _RSA_BITS:
        raise BadKeySet(f"its RSA key has {jwk.key.key_size} bits; 2048 to 8192 are taken")
    return VerificationKey(kid, algorithm, json.dumps(public, sort_keys=True), jwk)


def _algorithm(member: Mapping[str, Any]) -> str:
    """Return the algorithm that a key is for, if it is one of ours and the key may verify signatures."""
    kty = member.get("kty")
    if not isinstance(kty, str) or kty not in _ALGORITHM_OF:
        raise BadKeySet("it is neither an RSA key nor one on P-256")
    if kty == "EC" and member.get("crv") != "P-256":
        raise BadKeySet("its curve is not P-256")
    algorithm = _ALGORITHM_OF[kty]
    if member.get("alg", algorithm) != algorithm:
        raise BadKeySet(f"it is for another algorithm than {algorithm}")
    if member.get("use", "sig") != "sig":
        raise BadKeySet("it is not for signatures")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise BadKeySet("it may not verify signatures")
    return algorithm
