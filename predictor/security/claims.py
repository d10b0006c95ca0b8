"""What a verified token's claims (RFC 7519) say: whose it is, what it may do, and whether it is for us and now. PURE.

The clock is passed in. A token is taken while ``now < exp + leeway``, from ``nbf - leeway`` and ``iat - leeway`` on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from predictor.security.errors import Reason, Unauthenticated
from predictor.security.principal import MAX_SUBJECT_CHARACTERS, Principal, authenticated

# Beyond it floats no longer tell two seconds apart.
_LAST_SECOND = 2**53


@dataclass(frozen=True)
class ClaimRules:
    """What claims must say.

    Args:
        audience: who tokens must be for. None takes only tokens that name no audience: RFC 7519 has a token refused
            by whoever does not find itself in its ``aud``.
        issuer: who must have made them; None takes any.
        leeway: seconds by which the clocks of issuer and server may differ.

    """

    audience: str | None = None
    issuer: str | None = None
    leeway: float = 30.0


def principal_of(claims: Mapping[str, Any], rules: ClaimRules, now: float) -> Principal:
    """Return whom the claims are about; ``now`` is in seconds since the epoch.

    Raises:
        Unauthenticated: a claim is missing, is of the wrong form, or does not hold.

    """
    expires_at = _time(claims, "exp")
    if expires_at is None:
        raise _bad("the token has no expiry (exp)")
    if now >= expires_at + rules.leeway:
        raise Unauthenticated(Reason.EXPIRED, "the token has expired: get a new one")
    for name in ("nbf", "iat"):
        begins = _time(claims, name)
        if begins is not None and now < begins - rules.leeway:
            raise Unauthenticated(
                Reason.NOT_YET_VALID, f"the token is not valid yet ({name}): wait, or set the clock of its issuer"
            )
    _check_issuer(claims, rules.issuer)
    _check_audience(claims, rules.audience)
    return authenticated(_subject(claims), _scopes(claims), expires_at)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # In this order, so that neither NaN nor an integer beyond floats gets through, or fails.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LAST_SECOND:
        raise _bad(f"the claim {name} of the token is no number of seconds since 1970")
    return float(value)


def _check_issuer(claims: Mapping[str, Any], issuer: str | None) -> None:
    if issuer is not None and claims.get("iss") != issuer:
        raise Unauthenticated(
            Reason.WRONG_ISSUER, "the token is by another issuer (iss) than the one that this server trusts"
        )


def _check_audience(claims: Mapping[str, Any], audience: str | None) -> None:
    named = claims.get("aud")
    if audience is None:
        if named:
            raise Unauthenticated(
                Reason.WRONG_AUDIENCE,
                "the token is for somebody else: it names an audience (aud), and this server has none configured",
            )
    elif audience not in (named if isinstance(named, list) else [named]):
        raise Unauthenticated(
            Reason.WRONG_AUDIENCE, "the token is not for this server: ask for one with its audience (aud)"
        )


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS or not subject.isprintable():
        raise _bad(f"the token has no subject (sub) of 1 to {MAX_SUBJECT_CHARACTERS} printable characters")
    return subject


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes: ``scope`` (RFC 8693), else ``scp`` as some issuers have it; each a string or a list."""
    value = claims.get("scope", claims.get("scp", ""))
    if isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return frozenset(value)
    raise _bad("the scopes of the token (scope, scp) are neither a string nor a list of strings")


def _bad(detail: str) -> Unauthenticated:
    return Unauthenticated(Reason.BAD_CLAIMS, detail)
