"""Who may use the server that `telltale serve` starts: whether it may listen, and tokens of its own secret."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import jwt
from pydantic_settings import SettingsConfigDict

from predictor.security.composition import build_security
from predictor.security.errors import SecurityMisconfigured
from predictor.security.events import NoEvents
from predictor.security.exposure import may_listen_on, refusal
from predictor.security.principal import INGEST, READ_MODELS, SCORE
from predictor.security.settings import SecuritySettings
from standalone.errors import NotAllowed

SCOPES = (INGEST, SCORE, READ_MODELS)
# Long enough for a first start on a slow machine.
_FIRST_START_SECONDS = 15 * 60


class AccessSettings(SecuritySettings):
    """The predictor's settings of who may call it."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="TELLTALE_", extra="ignore")


@dataclass(frozen=True)
class Wanted:
    """The token to make.

    Args:
        subject: whom it names; rate limits count by subject.
        scopes: what it may do.
        seconds: how long it is valid.

    """

    subject: str
    scopes: Sequence[str]
    seconds: float


def check_access(host: str, access: AccessSettings, *, allow_anonymous: bool) -> None:
    """Refuse settings that the predictor would, before anything is started.

    An address that others can reach needs tokens, or that anonymous use is allowed in words.

    Raises:
        NotAllowed: with what to do.

    """
    _check_security(access)
    if not may_listen_on(host, authenticated=access.authenticates, anonymous_allowed=allow_anonymous):
        raise NotAllowed(refusal(host))


def token(access: AccessSettings, wanted: Wanted) -> str:
    """Return a token that the server takes, signed with its shared secret.

    Raises:
        NotAllowed: there is no shared secret to sign with.

    """
    if access.auth_secret is None:
        raise NotAllowed(
            "TELLTALE_AUTH_SECRET is not set, so there is nothing to sign with: "
            + (
                "tokens come from the issuer of TELLTALE_AUTH_JWKS_URL"
                if access.auth_jwks_url is not None
                else "set it for `telltale serve` and for this command, or use the server without a token"
            )
        )
    _check_security(access)
    now = int(time.time())
    claims = {
        "sub": wanted.subject,
        "scope": " ".join(wanted.scopes),
        "iat": now,
        "exp": now + int(wanted.seconds),
        **({"aud": access.auth_audience} if access.auth_audience is not None else {}),
        **({"iss": access.auth_issuer} if access.auth_issuer is not None else {}),
    }
    return jwt.encode(claims, access.auth_secret.get_secret_value(), algorithm="HS256")


def first_start_token(access: AccessSettings) -> str | None:
    """Return what the first start's own requests carry; None where nothing is asked for, or we cannot sign."""
    if access.auth_secret is None:
        return None
    return token(access, Wanted("telltale-first-start", SCOPES, _FIRST_START_SECONDS))


def _check_security(access: AccessSettings) -> None:
    try:
        build_security(access, NoEvents(), shares_quotas=False)
    except SecurityMisconfigured as refusal:
        raise NotAllowed(str(refusal)) from refusal
