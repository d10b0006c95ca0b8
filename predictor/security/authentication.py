"""Authentication as it is configured: none, a shared secret, or an issuer's public keys. Never two of them at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from predictor.security.authenticator import Anonymous, Authentication, Authenticator
from predictor.security.claims import ClaimRules
from predictor.security.errors import SecurityMisconfigured
from predictor.security.events import SecurityEvents
from predictor.security.key_ring import KeyRing, KeyRingConfig, OneKey
from predictor.security.key_source import key_source
from predictor.security.keys import secret_key


@dataclass(frozen=True)
class AuthenticationConfig:
    """What the operator sets.

    Args:
        secret: the shared secret for HS256, at least 32 bytes.
        jwks_url: where the issuer's key set is, for RS256 and ES256.
        rules: what claims must say.
        key_ring: how often the key set is read.
        fetch_seconds: how long each wait for the key set may take.
        http_allowed: whether the key set may be read by http from another machine.

    """

    secret: bytes | None = field(default=None, repr=False)
    jwks_url: str | None = None
    rules: ClaimRules = field(default_factory=ClaimRules)
    key_ring: KeyRingConfig = field(default_factory=KeyRingConfig)
    fetch_seconds: float = 5.0
    http_allowed: bool = False

    @property
    def is_configured(self) -> bool:
        """Whether requests must carry a token."""
        return self.secret is not None or self.jwks_url is not None


def build_authentication(config: AuthenticationConfig, *, events: SecurityEvents | None = None) -> Authentication:
    """Return what authenticates requests; SecurityMisconfigured if the settings are unsafe or contradict each other."""
    if config.secret is not None and config.jwks_url is not None:
        raise SecurityMisconfigured(
            "both a secret for HS256 and a key set are configured: set one of TELLTALE_AUTH_SECRET and"
            " TELLTALE_AUTH_JWKS_URL, so that which algorithms are taken never depends on a token"
        )
    if config.secret is not None:
        return Authenticator(OneKey(secret_key(config.secret)), config.rules, events=events)
    if config.jwks_url is not None:
        source = key_source(config.jwks_url, timeout=config.fetch_seconds, http_allowed=config.http_allowed)
        return Authenticator(KeyRing(source, config.key_ring, events=events), config.rules, events=events)
    return Anonymous()
