from __future__ import annotations

import time
from pathlib import Path

import jwt
import pytest
from pydantic import SecretStr

from predictor.security.claims import ClaimRules, principal_of
from standalone.access import (
    SCOPES,
    AccessSettings,
    Wanted,
    check_access,
    first_start_token,
    greeting_token,
    makes_secret,
    token,
    with_kept_secret,
)
from standalone.errors import NotAllowed
from standalone.settings import StandaloneSettings

SECRET = "a-shared-secret-of-forty-characters-long"
NOBODY = AccessSettings(_env_file=None)
SHARED = AccessSettings(auth_secret=SecretStr(SECRET), auth_audience="telltale", auth_issuer="depot")
ISSUER = AccessSettings(auth_jwks_url="https://issuer.example/keys")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_words(host: str) -> None:
    check_access(host, NOBODY, allow_anonymous=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_what_others_reach_needs_tokens_or_words(host: str) -> None:
    with pytest.raises(NotAllowed, match="TELLTALE_ALLOW_ANONYMOUS=true"):
        check_access(host, NOBODY, allow_anonymous=False)
    check_access(host, NOBODY, allow_anonymous=True)
    check_access(host, SHARED, allow_anonymous=False)
    check_access(host, ISSUER, allow_anonymous=False)


@pytest.mark.parametrize(
    ("access", "said"),
    [
        (AccessSettings(auth_secret=SecretStr("short")), "needs at least 32"),
        (AccessSettings(auth_secret=SecretStr(SECRET), auth_jwks_url="https://issuer.example/keys"), "both a secret"),
        (AccessSettings(auth_jwks_url="ftp://issuer.example"), "https"),
    ],
)
def test_settings_that_the_predictor_refuses_are_refused_before_anything_starts(
    access: AccessSettings, said: str
) -> None:
    with pytest.raises(NotAllowed, match=said):
        check_access("127.0.0.1", access, allow_anonymous=True)


def test_a_token_says_whose_it_is_what_it_may_do_and_for_how_long() -> None:
    made = token(SHARED, Wanted("fleet-7", SCOPES[:2], 60))
    claims = jwt.decode(made, SECRET, algorithms=["HS256"], audience="telltale", issuer="depot")
    principal = principal_of(claims, ClaimRules("telltale", "depot"), time.time())
    assert principal.subject == "fleet-7"
    assert principal.scopes == frozenset(SCOPES[:2])
    assert 0 < claims["exp"] - time.time() <= 60


def test_without_a_shared_secret_there_is_no_token_and_the_reason_is_said() -> None:
    with pytest.raises(NotAllowed, match="TELLTALE_AUTH_SECRET is not set"):
        token(NOBODY, Wanted("x", SCOPES, 60))
    with pytest.raises(NotAllowed, match="issuer of TELLTALE_AUTH_JWKS_URL"):
        token(ISSUER, Wanted("x", SCOPES, 60))
    assert first_start_token(NOBODY) is None
    assert first_start_token(ISSUER) is None
    assert first_start_token(SHARED) is not None


@pytest.mark.parametrize(
    ("generate", "access", "anonymous", "made"),
    [
        (True, NOBODY, False, True),
        (True, SHARED, False, False),
        (True, ISSUER, False, False),
        (True, NOBODY, True, False),
        (False, NOBODY, False, False),
    ],
)
def test_a_secret_is_made_only_where_that_is_wanted_and_nothing_else_is(
    generate: bool, access: AccessSettings, anonymous: bool, made: bool
) -> None:
    settings = StandaloneSettings(generate_auth_secret=generate, allow_anonymous=anonymous)
    assert makes_secret(settings, access) is made


def test_the_made_secret_is_kept_and_signs_what_the_next_start_takes(tmp_path: Path) -> None:
    assert with_kept_secret(NOBODY, tmp_path, make=False) == NOBODY
    first = with_kept_secret(NOBODY, tmp_path, make=True)
    check_access("0.0.0.0", first, allow_anonymous=False)
    again = with_kept_secret(NOBODY, tmp_path, make=True)
    assert again.auth_secret == first.auth_secret is not None
    claims = jwt.decode(greeting_token(first), again.auth_secret.get_secret_value(), algorithms=["HS256"])
    assert claims["scope"].split() == list(SCOPES)
    assert claims["exp"] - claims["iat"] == 24 * 3600


def test_an_empty_variable_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files and platforms pass on what is not set as empty."""
    monkeypatch.setenv("TELLTALE_AUTH_SECRET", "")
    monkeypatch.setenv("TELLTALE_AUTH_JWKS_URL", "")
    assert not AccessSettings().authenticates
