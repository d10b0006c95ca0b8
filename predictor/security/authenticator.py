"""From an Authorization header to a principal: a look into a table for a token that was verified before, else the work.

The table is keyed by the header's bytes. An entry holds until the instant at which verifying anew would refuse the
token, or until the key that verified it is gone. Refusals that cannot change while the keys do not are remembered too,
in a smaller table, so that a client that repeats an expired token costs no signature each time.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from predictor.security.claims import ClaimRules, principal_of
from predictor.security.errors import Reason, Refused, Unauthenticated
from predictor.security.events import NoEvents, SecurityEvents
from predictor.security.key_ring import Keys
from predictor.security.keys import VerificationKey
from predictor.security.principal import ANONYMOUS, Principal
from predictor.security.tokens import bearer_token, read_envelope, verified_claims

MAX_VERIFIED = 10_000
MAX_VERIFIED_BYTES = 16 * 1024 * 1024
MAX_REFUSED = 1_000

# Neither a later moment nor another look at the same keys makes these good.
_FINAL = {
    Reason.ALGORITHM_REFUSED,
    Reason.BAD_SIGNATURE,
    Reason.EXPIRED,
    Reason.WRONG_AUDIENCE,
    Reason.WRONG_ISSUER,
    Reason.BAD_CLAIMS,
}


class Authentication(Protocol):
    """Tells who asks. All of it belongs to one event loop."""

    is_required: bool

    def fast(self, header: bytes | None, now: float) -> Principal | None:
        """Return the principal of a header that was seen before; None means to ask ``verify``."""

    async def verify(self, header: bytes | None, now: float) -> Principal:
        """Return the principal of an Authorization header; ``now`` is in seconds since the epoch.

        Raises:
            Unauthenticated: the header carries no token that is good here and now.
            KeysUnavailable: that cannot be told now.

        """

    async def start(self) -> None:
        """Begin; returns within seconds, whether the issuer answers or not."""

    async def stop(self) -> None:
        """End what runs in the background."""


class Anonymous:
    """No authentication: everybody is the same principal and may do everything."""

    is_required = False

    def fast(self, header: bytes | None, now: float) -> Principal | None:  # noqa: ARG002 - the port's shape
        """Return the anonymous principal."""
        return ANONYMOUS

    async def verify(self, header: bytes | None, now: float) -> Principal:  # noqa: ARG002 - the port's shape
        """Return the anonymous principal."""
        return ANONYMOUS

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""


class _Verified(msgspec.Struct, frozen=True, gc=False):
    principal: Principal
    until: float
    key: VerificationKey


class Authenticator:
    """Verifies bearer tokens.

    Args:
        keys: what verifies signatures; the algorithms that are taken are theirs.
        rules: what claims must say.
        events: is told of every refusal.

    """

    is_required = True

    def __init__(self, keys: Keys, rules: ClaimRules, *, events: SecurityEvents | None = None) -> None:
        self._keys = keys
        self._rules = rules
        self._events: SecurityEvents = events or NoEvents()
        self._verified: dict[bytes, _Verified] = {}
        self._verified_bytes = 0
        self._refused: dict[bytes, Unauthenticated] = {}
        keys.on_change(self._forget)

    def fast(self, header: bytes | None, now: float) -> Principal | None:
        """Return the principal of a header that was verified before and still holds, else None."""
        found = self._verified.get(header or b"")
        if found is not None and now < found.until:
            return found.principal
        return None

    async def verify(self, header: bytes | None, now: float) -> Principal:
        """Return the principal of an Authorization header; ``now`` is in seconds since the epoch.

        Raises:
            Unauthenticated: the header carries no token that is good here and now.
            KeysUnavailable: that cannot be told now.

        """
        principal = self.fast(header, now)
        if principal is not None:
            return principal
        try:
            return await self._verify(header, now)
        except Refused as refusal:
            self._events.refused(refusal.reason)
            raise

    async def start(self) -> None:
        """Read the keys; returns within seconds, whether their issuer answers or not."""
        await self._keys.start()

    async def stop(self) -> None:
        """End what runs in the background."""
        await self._keys.stop()

    async def _verify(self, header: bytes | None, now: float) -> Principal:
        token = bearer_token(header)
        known = self._refused.get(token)
        if known is not None:
            raise Unauthenticated(known.reason, known.detail)
        envelope = read_envelope(token, self._keys.algorithms)
        key = await self._keys.look_up(envelope.kid)
        # No await from here on: the key must be trusted at the moment when its verdict enters the table.
        try:
            claims = verified_claims(token, key, envelope.algorithm)
            principal = principal_of(claims, self._rules, now)
        except Unauthenticated as refusal:
            self._remember_refusal(token, refusal)
            raise
        self._remember(header or b"", _Verified(principal, principal.expires_at + self._rules.leeway, key))
        return principal

    def _remember(self, header: bytes, verified: _Verified) -> None:
        if header not in self._verified:
            self._verified_bytes += len(header)
        self._verified[header] = verified
        while len(self._verified) > MAX_VERIFIED or self._verified_bytes > MAX_VERIFIED_BYTES:
            oldest = next(iter(self._verified))
            del self._verified[oldest]
            self._verified_bytes -= len(oldest)

    def _remember_refusal(self, token: bytes, refusal: Unauthenticated) -> None:
        if refusal.reason in _FINAL:
            if len(self._refused) >= MAX_REFUSED:
                del self._refused[next(iter(self._refused))]
            self._refused[token] = Unauthenticated(refusal.reason, refusal.detail)

    def _forget(self) -> None:
        """Drop what was verified by keys that are gone, and every refusal: another key may find otherwise."""
        trusted = self._keys.trusted()
        self._verified = {header: one for header, one in self._verified.items() if one.key in trusted}
        self._verified_bytes = sum(map(len, self._verified))
        self._refused.clear()
