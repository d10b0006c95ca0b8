from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.security.claims import ClaimRules, principal_of
from predictor.security.errors import Reason, Unauthenticated
from tests.predictor.security.issuers import NOW, claims

RULES = ClaimRules(audience="telltale", issuer="https://issuer", leeway=30)
GOOD = claims(aud="telltale", iss="https://issuer")


def _reason(payload: dict[str, Any], rules: ClaimRules = RULES, now: float = NOW) -> Reason:
    with pytest.raises(Unauthenticated) as refusal:
        principal_of(payload, rules, now)
    return refusal.value.reason


def test_good_claims_make_a_principal_with_the_scopes_that_are_known() -> None:
    principal = principal_of(GOOD | {"scope": "openid telemetry:score models:read"}, RULES, NOW)
    assert principal.subject == "fleet-7"
    assert principal.scopes == {"telemetry:score", "models:read"}
    assert principal.expires_at == NOW + 300


@pytest.mark.parametrize("name", ["scope", "scp"])
@pytest.mark.parametrize("value", ["telemetry:ingest  models:read", ["telemetry:ingest", "models:read"]])
def test_scopes_are_a_string_or_a_list_in_either_claim(name: str, value: object) -> None:
    payload = {key: one for key, one in GOOD.items() if key != "scope"} | {name: value}
    assert principal_of(payload, RULES, NOW).scopes == {"telemetry:ingest", "models:read"}


def test_a_token_without_scopes_has_none() -> None:
    assert principal_of(claims(scope=None, aud="telltale", iss="https://issuer"), RULES, NOW).scopes == frozenset()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"exp": None}, Reason.BAD_CLAIMS),
        ({"exp": "soon"}, Reason.BAD_CLAIMS),
        ({"exp": str(NOW + 300)}, Reason.BAD_CLAIMS),
        ({"exp": True}, Reason.BAD_CLAIMS),
        ({"exp": float("inf")}, Reason.BAD_CLAIMS),
        ({"exp": float("nan")}, Reason.BAD_CLAIMS),
        ({"exp": 10**400}, Reason.BAD_CLAIMS),
        ({"exp": [NOW + 300]}, Reason.BAD_CLAIMS),
        ({"nbf": "now"}, Reason.BAD_CLAIMS),
        ({"iat": {}}, Reason.BAD_CLAIMS),
        ({"sub": None}, Reason.BAD_CLAIMS),
        ({"sub": ""}, Reason.BAD_CLAIMS),
        ({"sub": 7}, Reason.BAD_CLAIMS),
        ({"sub": "x" * 257}, Reason.BAD_CLAIMS),
        ({"sub": "fleet\n7"}, Reason.BAD_CLAIMS),
        ({"sub": "fleet\x00"}, Reason.BAD_CLAIMS),
        ({"scope": 5}, Reason.BAD_CLAIMS),
        ({"scope": [5]}, Reason.BAD_CLAIMS),
        ({"iss": None}, Reason.WRONG_ISSUER),
        ({"iss": "https://issuer/"}, Reason.WRONG_ISSUER),
        ({"iss": ["https://issuer"]}, Reason.WRONG_ISSUER),
        ({"aud": None}, Reason.WRONG_AUDIENCE),
        ({"aud": "Telltale"}, Reason.WRONG_AUDIENCE),
        ({"aud": []}, Reason.WRONG_AUDIENCE),
        ({"aud": ["other"]}, Reason.WRONG_AUDIENCE),
        ({"aud": {"telltale": 1}}, Reason.WRONG_AUDIENCE),
    ],
)
def test_each_bad_claim_has_its_reason(change: dict[str, Any], reason: Reason) -> None:
    payload = {name: value for name, value in (GOOD | change).items() if value is not None}
    assert _reason(payload) is reason


def test_one_audience_of_several_is_enough() -> None:
    assert principal_of(GOOD | {"aud": ["other", "telltale"]}, RULES, NOW).subject == "fleet-7"


def test_a_token_for_somebody_is_refused_where_no_audience_is_configured() -> None:
    assert _reason(claims(aud="other"), ClaimRules()) is Reason.WRONG_AUDIENCE
    assert principal_of(claims(), ClaimRules(), NOW).subject == "fleet-7"


@pytest.mark.parametrize(("now", "taken"), [(NOW + 29.999, True), (NOW + 30, False)])
def test_a_token_expires_exactly_the_leeway_after_exp(now: float, taken: bool) -> None:
    payload = GOOD | {"exp": NOW}
    if taken:
        assert principal_of(payload, RULES, now)
    else:
        assert _reason(payload, now=now) is Reason.EXPIRED


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_begins_exactly_the_leeway_before(name: str) -> None:
    payload = GOOD | {name: NOW}
    assert principal_of(payload, RULES, NOW - 30)
    assert _reason(payload, now=NOW - 30.001) is Reason.NOT_YET_VALID


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)
            for name in ("exp", "nbf", "iat", "sub", "scope", "scp", "aud", "iss")
        },
    )
)
def test_any_claims_make_a_valid_principal_or_are_refused(payload: dict[str, Any]) -> None:
    try:
        principal = principal_of(payload, ClaimRules(), NOW)
    except Unauthenticated:
        return
    assert principal.expires_at + 30 > NOW
    assert 0 < len(principal.subject) <= 256
