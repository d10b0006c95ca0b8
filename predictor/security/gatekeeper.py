"""Admission as it is configured: authentication, then the scope, then the subject's quota."""

from __future__ import annotations

import time
from collections.abc import Callable

from predictor.hotpath.admission import Admitted, RawHeaders
from predictor.hotpath.exchange import Scope
from predictor.security.authenticator import Authentication
from predictor.security.errors import Refused
from predictor.security.events import NoEvents, SecurityEvents
from predictor.security.principal import Principal, quota_key, require
from predictor.security.rate_limiter import RateLimiter
from predictor.security.rate_policy import refused

_NOBODY = Admitted("anonymous")


class Gatekeeper:
    """Lets requests pass; implements :class:`predictor.hotpath.admission.Admission`.

    Args:
        authentication: tells who asks.
        limiter: counts by subject; None counts nothing.
        events: is told of every request that lacks a scope or is beyond its quota; tokens are the authentication's.
        clock: seconds since the epoch, for tokens.
        steady: seconds that never go back, for quotas.

    """

    def __init__(
        self,
        authentication: Authentication,
        limiter: RateLimiter | None,
        *,
        events: SecurityEvents | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authentication = authentication
        self._limiter = limiter
        self._events: SecurityEvents = events or NoEvents()
        self._clock = clock
        self._steady = steady
        self._is_open = limiter is None and not authentication.is_required

    def quick(self, authorization: bytes | None, scope: Scope | None, client: str) -> Admitted | None:
        """Admit a request without waiting; None if its token must be verified first."""
        if self._is_open or scope is None:
            return _NOBODY
        principal = self._authentication.fast(authorization, self._clock())
        return None if principal is None else self._passed(principal, scope, client)

    async def full(self, authorization: bytes | None, scope: Scope | None, client: str) -> Admitted:
        """Admit a request, verifying its token."""
        if self._is_open or scope is None:
            return _NOBODY
        principal = await self._authentication.verify(authorization, self._clock())
        return self._passed(principal, scope, client)

    def _passed(self, principal: Principal, scope: Scope, client: str) -> Admitted:
        try:
            require(principal, scope)
            return Admitted(principal.subject, self._taken(principal, client))
        except Refused as refusal:
            self._events.refused(refusal.reason)
            raise

    def _taken(self, principal: Principal, client: str) -> RawHeaders:
        """Take a request from the quota, and return what tells of it; RateLimited if nothing is left."""
        if self._limiter is None:
            return ()
        verdict = self._limiter.admit(quota_key(principal, client), self._steady())
        if not verdict.admitted:
            raise refused(self._limiter.policy, verdict)
        return verdict.headers
