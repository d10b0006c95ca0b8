"""Who may use the server that `telltale serve` starts: whether it may listen, and tokens of its own secret."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jwt
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from predictor.security.composition import build_security
from predictor.security.errors import SecurityMisconfigured
from predictor.security.events import NoEvents
from predictor.security.exposure import may_listen_on, refusal
from predictor.security.principal import INGEST, READ_MODELS, SCORE
from predictor.security.settings import SecuritySettings
from standalone.errors import NotAllowed
from standalone.kept_secret import make_secret, read_secret
from standalone.settings import StandaloneSettings

SCOPES = (INGEST, SCORE, READ_MODELS)
# Long enough for a first start on a slow machine.
_FIRST_START_SECONDS = 15 * 60
# A day: long enough to try everything, and gone from the logs' reach soon after.
_GREETING_SECONDS = 24 * 3600
_KEPT_IN = "auth-secret"
_SECRET_BYTES = 48


class AccessSettings(SecuritySettings):
    """The predictor's settings of who may call it."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="TELLTALE_", env_ignore_empty=True, extra="ignore")


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


def makes_secret(settings: StandaloneSettings, access: AccessSettings) -> bool:
    """Tell whether tokens are of a secret that Telltale makes: it is asked for, and nothing else was."""
    return settings.generate_auth_secret and not access.authenticates and not settings.allow_anonymous


def with_kept_secret(access: AccessSettings, data: Path, *, make: bool) -> AccessSettings:
    """Return the settings with the secret that the data folder keeps; as they are if it keeps none.

    Args:
        access: with no secret and no issuer of its own.
        data: the data folder.
        make: make the secret where there is none.

    """
    path = data / _KEPT_IN
    secret = read_secret(path)
    if secret is None and make:
        secret = make_secret(path, _SECRET_BYTES)
    return access if secret is None else access.model_copy(update={"auth_secret": SecretStr(secret)})


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


def greeting_token(access: AccessSettings) -> str:
    """Return the token that is shown to the person who starts a server whose secret nobody chose."""
    return token(access, Wanted("telltale-first-user", SCOPES, _GREETING_SECONDS))


def _check_security(access: AccessSettings) -> None:
    try:
        build_security(access, NoEvents(), shares_quotas=False)
    except SecurityMisconfigured as refusal:
        raise NotAllowed(str(refusal)) from refusal
