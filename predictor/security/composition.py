"""The security parts put together from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from predictor.hotpath.late import Late
from predictor.security.authentication import AuthenticationConfig, build_authentication
from predictor.security.authenticator import Authentication
from predictor.security.claims import ClaimRules
from predictor.security.events import SecurityEvents
from predictor.security.gatekeeper import Gatekeeper
from predictor.security.key_ring import KeyRingConfig
from predictor.security.quota_leases import QuotaLeases
from predictor.security.rate_limiter import LimiterConfig, RateLimiter
from predictor.security.rate_policy import RatePolicy
from predictor.security.settings import SecuritySettings
from store.quotas import QuotaSource


@dataclass(frozen=True)
class Security:
    """What guards the transports, and what it does in the background.

    Args:
        gatekeeper: lets requests pass.
        authentication: reads the issuer's keys.
        leases: keeps quotas filled; None where there is no rate limit.
        quotas: takes the shared buckets, once the database's library is there; None where there is no database.

    """

    gatekeeper: Gatekeeper
    authentication: Authentication
    leases: QuotaLeases | None
    quotas: Late[QuotaSource] | None

    async def start(self) -> None:
        """Begin; returns within seconds, whether the issuer of tokens answers or not."""
        if self.leases is not None:
            self.leases.start()
        await self.authentication.start()

    async def stop(self) -> None:
        """End what runs in the background."""
        await self.authentication.stop()
        if self.leases is not None:
            await self.leases.stop()


def build_security(settings: SecuritySettings, events: SecurityEvents, *, shares_quotas: bool) -> Security:
    """Put the security parts together.

    Args:
        settings: of security.
        events: is told what happens.
        shares_quotas: whether there is a database from which replicas lease quotas together.

    Raises:
        SecurityMisconfigured: the settings are unsafe or contradict each other.

    """
    secret = settings.auth_secret.get_secret_value().encode() if settings.auth_secret is not None else None
    config = AuthenticationConfig(
        secret=secret,
        jwks_url=settings.auth_jwks_url,
        # Empty, as charts and compose files leave what is not set, is not set.
        rules=ClaimRules(settings.auth_audience or None, settings.auth_issuer or None, settings.auth_leeway_seconds),
        key_ring=KeyRingConfig(
            refresh_seconds=settings.auth_jwks_refresh_seconds, refetch_seconds=settings.auth_jwks_unknown_seconds
        ),
        http_allowed=settings.auth_jwks_allow_http,
    )
    authentication = build_authentication(config, events=events)
    if not settings.rate_limit:
        return Security(Gatekeeper(authentication, None, events=events), authentication, None, None)
    policy = RatePolicy(settings.rate_limit, settings.rate_limit_burst or None)
    limiter = RateLimiter(policy, LimiterConfig(is_shared=shares_quotas))
    quotas: Late[QuotaSource] | None = Late() if shares_quotas else None
    leases = QuotaLeases(limiter, quotas, events=events)
    return Security(Gatekeeper(authentication, limiter, events=events), authentication, leases, quotas)
