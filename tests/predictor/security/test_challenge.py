from __future__ import annotations

import re

import pytest

from predictor.security.challenge import www_authenticate
from predictor.security.errors import Forbidden, KeysUnavailable, RateLimited, Reason, Unauthenticated
from predictor.security.principal import ANONYMOUS, SCORE, authenticated, quota_key, require


def test_a_request_without_a_token_learns_only_how_to_ask() -> None:
    assert www_authenticate(Unauthenticated(Reason.MISSING, "send a token")) == 'Bearer realm="telltale"'


def test_a_bad_token_is_told_what_is_wrong_with_it() -> None:
    assert www_authenticate(Unauthenticated(Reason.EXPIRED, "the token has expired")) == (
        'Bearer realm="telltale", error="invalid_token", error_description="the token has expired"'
    )


def test_a_missing_scope_is_named() -> None:
    value = www_authenticate(Forbidden(SCORE, {"models:read"}))
    assert value is not None
    assert 'error="insufficient_scope"' in value
    assert value.endswith(', scope="telemetry:score"')
    assert "this token has models:read" in value


@pytest.mark.parametrize("detail", ['say "no"', "back\\slash", "naïve", "two\r\nlines"])
def test_a_description_holds_only_what_a_header_may(detail: str) -> None:
    value = www_authenticate(Unauthenticated(Reason.MALFORMED, detail))
    assert value is not None
    assert re.fullmatch(r'Bearer realm="telltale", error="invalid_token", error_description="[ !#-\[\]-~]*"', value)


def test_what_no_token_would_help_with_is_not_challenged() -> None:
    assert www_authenticate(KeysUnavailable("later")) is None
    assert www_authenticate(RateLimited(rate=5, retry_after=2)) is None


def test_a_scope_that_is_there_passes_and_one_that_is_not_names_both() -> None:
    reader = authenticated("me", frozenset({"models:read", "openid"}), 0)
    require(reader, "models:read")
    with pytest.raises(Forbidden, match="needs the scope telemetry:score and this token has models:read") as refusal:
        require(reader, SCORE)
    assert (refusal.value.needed, refusal.value.granted) == (SCORE, {"models:read"})
    assert refusal.value.reason is Reason.MISSING_SCOPE
    with pytest.raises(Forbidden, match="has none that is known here"):
        require(authenticated("me", frozenset({"openid"}), 0), SCORE)


def test_quotas_count_by_subject_and_by_address_only_for_anonymous_clients() -> None:
    assert quota_key(authenticated("10.0.0.1", frozenset(), 0), "10.0.0.9") == "sub:10.0.0.1"
    assert quota_key(ANONYMOUS, "10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize(
    ("addresses", "key"),
    [
        # Whoever has a public address of IPv6 has 2^64 of them.
        (["2a00:1450:4001:82a::1", "2a00:1450:4001:82a:ffff:1:2:3"], "2a00:1450:4001:82a::/64"),
        (["2a00:1450:4001:82b::1"], "2a00:1450:4001:82b::/64"),
        # Neighbours on one network of a site or a link are not one.
        (["fd00::1"], "fd00::1"),
        (["fe80::1%eth0"], "fe80::1%eth0"),
        (["::1"], "::1"),
        (["::ffff:192.0.2.1", "192.0.2.1"], "192.0.2.1"),
        (["unix:/run/a.sock"], "unix:/run/a.sock"),
        ([""], ""),
    ],
)
def test_an_address_of_ipv6_counts_by_what_its_owner_cannot_change(addresses: list[str], key: str) -> None:
    assert {quota_key(ANONYMOUS, address) for address in addresses} == {key}
