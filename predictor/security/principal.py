"""Who asks, and what that principal may do. PURE."""

from __future__ import annotations

import math
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network

import msgspec

from predictor.security.errors import Forbidden

INGEST = "telemetry:ingest"
SCORE = "telemetry:score"
READ_MODELS = "models:read"
WRITE_MODELS = "models:write"
SCOPES = frozenset({INGEST, SCORE, READ_MODELS, WRITE_MODELS})

MAX_SUBJECT_CHARACTERS = 256


class Principal(msgspec.Struct, frozen=True, gc=False):
    """A verified subject; ``expires_at`` is in seconds since the epoch.

    ``scopes`` holds only scopes that this server knows. ``quota_key`` is what rate limits count by; None means the
    client's address, for principals that nobody can tell apart.
    """

    subject: str
    scopes: frozenset[str]
    expires_at: float
    quota_key: str | None


ANONYMOUS = Principal("anonymous", SCOPES, math.inf, None)


def authenticated(subject: str, scopes: frozenset[str], expires_at: float) -> Principal:
    """Return the principal of a verified token."""
    # The prefix keeps a subject that looks like an address from sharing that address's quota.
    return Principal(subject, scopes & SCOPES, expires_at, f"sub:{subject}")


def quota_key(principal: Principal, address: str) -> str:
    """Return what to count this principal's requests by; ``address`` is the client's."""
    return principal.quota_key or (_network(address) if ":" in address else address)


@lru_cache(4096)
def _network(address: str) -> str:
    """Return what one client cannot change of its IPv6 address: the network of a public one, all of any other."""
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed.packed[:8] + bytes(8), 64))) if parsed.is_global else address


def require(principal: Principal, scope: str) -> None:
    """Raise Forbidden unless the principal has ``scope``."""
    if scope not in principal.scopes:
        raise Forbidden(scope, principal.scopes)
