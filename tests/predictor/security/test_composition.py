from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import SettingsConfigDict

from predictor.security.composition import Security, build_security
from predictor.security.errors import RateLimited, SecurityMisconfigured, Unauthenticated
from predictor.security.settings import SecuritySettings
from tests.predictor.security.conftest import Until
from tests.predictor.security.issuers import SECRET, claims, key_set, rsa_key, signed
from tests.predictor.security.recorded_events import RecordedEvents

_FAR = 2_000_000_000


class _Settings(SecuritySettings):
    model_config = SettingsConfigDict(env_prefix="TELLTALE_")


def _security(events: RecordedEvents | None = None, *, shares_quotas: bool = False, **values: Any) -> Security:
    return build_security(_Settings(**values), events or RecordedEvents(), shares_quotas=shares_quotas)


def _passes(security: Security, header: bytes) -> bool:
    try:
        asyncio.run(security.gatekeeper.full(header, "telemetry:score", "192.0.2.1"))
    except Unauthenticated:
        return False
    return True


def test_by_default_there_is_neither_authentication_nor_a_limit() -> None:
    security = _security()
    assert not security.authentication.is_required
    assert (security.leases, security.quotas) == (None, None)
    assert security.gatekeeper.quick(None, "models:write", "192.0.2.1")


@pytest.mark.parametrize("nothing", ["", None])
def test_an_audience_and_an_issuer_that_are_empty_are_not_set(nothing: str | None) -> None:
    security = _security(auth_secret=SECRET.decode(), auth_audience=nothing, auth_issuer=nothing)
    assert _passes(security, signed(SECRET, claims(exp=_FAR, iss="https://any.example")))
    assert not _passes(security, signed(SECRET, claims(exp=_FAR, aud="another")))


def test_an_audience_and_an_issuer_that_are_set_must_be_named() -> None:
    security = _security(auth_secret=SECRET.decode(), auth_audience="telltale", auth_issuer="https://id.example")
    good = {"exp": _FAR, "aud": "telltale", "iss": "https://id.example"}
    assert _passes(security, signed(SECRET, claims(**good)))
    for change in ({"aud": "another"}, {"aud": None}, {"iss": "https://id.example/"}, {"iss": None}):
        assert not _passes(security, signed(SECRET, claims(**good | change)))


@pytest.mark.parametrize(
    "unsafe",
    [
        {"auth_secret": ""},
        {"auth_secret": "short"},
        {"auth_jwks_url": ""},
        {"auth_jwks_url": "http://id.example/keys"},
        {"auth_secret": SECRET.decode(), "auth_jwks_url": "https://id.example/keys"},
    ],
    ids=str,
)
def test_what_is_half_set_is_refused_and_never_taken_for_no_authentication(unsafe: dict[str, str]) -> None:
    assert _Settings(**unsafe).authenticates
    with pytest.raises(SecurityMisconfigured):
        _security(**unsafe)


def test_a_key_set_in_a_file_is_read_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(key_set(k=rsa_key("a")))
    events = RecordedEvents()

    async def run() -> str:
        security = _security(events, auth_jwks_url=file.as_uri())
        await security.start()
        token = signed(rsa_key("a"), claims(exp=_FAR), kid="k")
        admitted = await security.gatekeeper.full(token, "telemetry:score", "192.0.2.1")
        await security.stop()
        return admitted.subject

    assert asyncio.run(run()) == "fleet-7"
    assert events.fetched == [1]


def _asked(security: Security, times: int) -> int:
    """How many of so many requests pass."""
    passed = 0
    for _ in range(times):
        try:
            passed += security.gatekeeper.quick(None, "telemetry:score", "192.0.2.1") is not None
        except RateLimited:
            continue
    return passed


def test_without_a_database_a_burst_passes_whole_and_the_quota_fills_again(until_async: Until) -> None:
    events = RecordedEvents()

    async def run() -> None:
        security = _security(events, rate_limit=100, rate_limit_burst=80)
        await security.start()
        assert _asked(security, 200) == 80
        await until_async(lambda: _asked(security, 1) == 1)
        await security.stop()

    asyncio.run(run())
    assert events.alone == [True]


def test_with_a_database_a_new_subject_has_a_part_of_its_burst_until_it_is_settled() -> None:
    security = _security(rate_limit=100, rate_limit_burst=80, shares_quotas=True)
    assert _asked(security, 200) == 20
    assert security.quotas is not None


def test_leases_begin_before_the_database_is_there(until_async: Until) -> None:
    async def run() -> None:
        security = _security(rate_limit=100, rate_limit_burst=80, shares_quotas=True)
        await security.start()
        assert _asked(security, 200) == 20
        await until_async(lambda: _asked(security, 1) == 1)
        await security.stop()

    asyncio.run(run())
