"""The security parts put together from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from predictor.security.authentication import AuthenticationConfig, build_authentication
from predictor.security.authenticator import Authentication
from predictor.security.claims import ClaimRules
from predictor.security.events import SecurityEvents
from predictor.security.gatekeeper import Gatekeeper
from predictor.security.key_ring import KeyRingConfig
from predictor.security.rate_limiter import RateLimiter
from predictor.security.rate_policy import RatePolicy
from predictor.security.settings import SecuritySettings


@dataclass(frozen=True)
class Security:
    """What guards the transports; ``limiter`` still wants somebody to lease its quotas, if there is a database."""

    gatekeeper: Gatekeeper
    authentication: Authentication
    limiter: RateLimiter | None


def build_security(settings: SecuritySettings, events: SecurityEvents) -> Security:
    """Put the security parts together; SecurityMisconfigured if the settings are unsafe or contradict each other."""
    secret = settings.auth_secret.get_secret_value().encode() if settings.auth_secret is not None else None
    config = AuthenticationConfig(
        secret=secret,
        jwks_url=settings.auth_jwks_url,
        rules=ClaimRules(settings.auth_audience, settings.auth_issuer, settings.auth_leeway_seconds),
        key_ring=KeyRingConfig(
            refresh_seconds=settings.auth_jwks_refresh_seconds, refetch_seconds=settings.auth_jwks_unknown_seconds
        ),
        http_allowed=settings.auth_jwks_allow_http,
    )
    authentication = build_authentication(config, events=events)
    policy = RatePolicy(settings.rate_limit, settings.rate_limit_burst or None) if settings.rate_limit else None
    limiter = RateLimiter(policy) if policy is not None else None
    return Security(Gatekeeper(authentication, limiter, policy), authentication, limiter)
