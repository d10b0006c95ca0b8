from __future__ import annotations

import time

import jwt
import pytest
from pydantic import SecretStr

from predictor.security.claims import ClaimRules, principal_of
from standalone.access import SCOPES, AccessSettings, Wanted, check_access, first_start_token, token
from standalone.errors import NotAllowed

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
