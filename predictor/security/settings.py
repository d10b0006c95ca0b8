"""The settings of authentication, rate limits, CORS and clients that dawdle."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from predictor.security.connection_limits import ConnectionLimits


class SecuritySettings(BaseSettings):
    """What can be set, each with its meaning, unit and the reason for its default."""

    auth_secret: SecretStr | None = Field(
        None,
        description="Shared secret of HS256 tokens, at least 32 bytes. Set it or TELLTALE_AUTH_JWKS_URL, never both;"
        " with neither, nobody needs a token.",
    )
    auth_jwks_url: str | None = Field(
        None,
        description="Where the issuer's key set is (https, or file for a mounted one), for RS256 and ES256 tokens.",
    )
    auth_jwks_allow_http: bool = Field(
        False, description="Read the key set by plain http from another machine. Off: whoever is between could forge."
    )
    auth_audience: str | None = Field(
        None, description="The `aud` that tokens must have; empty takes only tokens that name no audience."
    )
    auth_issuer: str | None = Field(None, description="The `iss` that tokens must have; empty takes any.")
    auth_leeway_seconds: float = Field(
        30.0, ge=0, le=300, description="Seconds by which the clocks of issuer and server may differ."
    )
    auth_jwks_refresh_seconds: float = Field(
        300.0, gt=0, description="Seconds between two reads of the key set: so long a withdrawn key may stay in use."
    )
    auth_jwks_unknown_seconds: float = Field(
        5.0,
        gt=0,
        description="Least seconds between two reads of the key set, however many tokens name an unknown key.",
    )
    rate_limit: float = Field(
        0.0, ge=0, description="Requests a second for each subject, over all replicas; 0 is no limit. Off by default."
    )
    rate_limit_burst: float = Field(
        0.0, ge=0, description="Requests at once for each subject; 0 takes those of one second."
    )
    cors_origins: str = Field(
        "",
        description="Origins of browsers that may call, separated by commas, such as https://fleet.example. None by"
        " default: a page of another origin may not.",
    )
    max_header_bytes: int = Field(32 * 1024, ge=1024, description="Most bytes of a request's headers together.")
    max_connections: int = Field(
        10_000, ge=1, description="Most connections at once; one more is closed. Each costs about 20 KB."
    )
    header_seconds: float = Field(
        10.0, gt=0, description="Seconds within which a request's headers must have come, from their first byte on."
    )
    body_idle_seconds: float = Field(
        30.0, gt=0, description="Longest seconds between two pieces of a body; slower clients are cut off."
    )

    @property
    def connection_limits(self) -> ConnectionLimits:
        """What one connection may take."""
        return ConnectionLimits(
            connections=self.max_connections,
            header_bytes=self.max_header_bytes,
            header_seconds=self.header_seconds,
            body_idle_seconds=self.body_idle_seconds,
        )

    @property
    def authenticates(self) -> bool:
        """Whether requests must carry a token."""
        return self.auth_secret is not None or self.auth_jwks_url is not None
