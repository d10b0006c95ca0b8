from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import predictor.security.authenticator as module
from predictor.security.authentication import AuthenticationConfig, build_authentication
from predictor.security.authenticator import Authenticator
from predictor.security.claims import ClaimRules
from predictor.security.errors import KeysUnavailable, Reason, SecurityMisconfigured, Unauthenticated
from predictor.security.key_ring import KeyRing, KeyRingConfig, OneKey
from predictor.security.key_source import key_source
from predictor.security.keys import secret_key
from predictor.security.principal import ANONYMOUS, SCOPES, Principal
from tests.predictor.security.issuers import NOW, SECRET, claims, key_set, rsa_key, serving, signed
from tests.predictor.security.recorded_events import RecordedEvents


def _authenticator(events: RecordedEvents | None = None, **rules: object) -> Authenticator:
    return Authenticator(OneKey(secret_key(SECRET)), ClaimRules(**rules), events=events)  # type: ignore[arg-type]


def _verify(authenticator: Authenticator, header: bytes | None, now: float = NOW) -> Principal:
    return asyncio.run(authenticator.verify(header, now))


def _reason(authenticator: Authenticator, header: bytes | None, now: float = NOW) -> Reason:
    with pytest.raises(Unauthenticated) as refusal:
        _verify(authenticator, header, now)
    return refusal.value.reason


def test_a_token_is_verified_once_and_then_found() -> None:
    authenticator = _authenticator()
    header = signed(SECRET, claims())
    assert authenticator.fast(header, NOW) is None
    principal = _verify(authenticator, header)
    assert authenticator.fast(bytes(bytearray(header)), NOW) is principal
    assert _verify(authenticator, header) is principal


def test_no_header_is_never_found_and_is_counted_as_missing() -> None:
    events = RecordedEvents()
    authenticator = _authenticator(events)
    assert authenticator.fast(None, NOW) is None
    assert _reason(authenticator, None) is Reason.MISSING
    assert events.refusals == ["missing"]


def test_a_found_token_dies_at_the_instant_at_which_verification_would_refuse_it() -> None:
    authenticator = _authenticator(leeway=30)
    header = signed(SECRET, claims(exp=NOW + 10))
    _verify(authenticator, header)
    assert authenticator.fast(header, NOW + 39.999)
    assert authenticator.fast(header, NOW + 40) is None
    assert _reason(authenticator, header, NOW + 40) is Reason.EXPIRED


@given(exp=st.integers(1, 100), leeway=st.integers(0, 60), later=st.floats(0, 200))
def test_the_table_and_verification_agree_at_every_moment(exp: int, leeway: int, later: float) -> None:
    header = signed(SECRET, claims(exp=NOW + exp))
    warm, cold = _authenticator(leeway=leeway), _authenticator(leeway=leeway)
    _verify(warm, header)
    found = warm.fast(header, NOW + later)
    try:
        verified = _verify(cold, header, NOW + later)
    except Unauthenticated:
        assert found is None
    else:
        assert found == verified


def test_a_repeated_refusal_costs_no_second_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = _authenticator()
    expired = signed(SECRET, claims(exp=NOW - 100))
    assert _reason(authenticator, expired) is Reason.EXPIRED
    monkeypatch.setattr(module, "verified_claims", None)
    assert _reason(authenticator, expired) is Reason.EXPIRED


def test_a_refusal_that_time_heals_is_not_remembered() -> None:
    authenticator = _authenticator()
    header = signed(SECRET, claims(nbf=NOW + 60))
    assert _reason(authenticator, header) is Reason.NOT_YET_VALID
    assert _verify(authenticator, header, NOW + 60).subject == "fleet-7"


def test_the_tables_are_bounded_and_lose_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VERIFIED", 3)
    monkeypatch.setattr(module, "MAX_REFUSED", 3)
    authenticator = _authenticator()
    headers = [signed(SECRET, claims(jti=str(i))) for i in range(5)]
    for header in headers:
        _verify(authenticator, header)
        _reason(authenticator, signed(b"z" * 40, claims(jti=str(len(header)) + header.decode()[-5:])))
    assert [authenticator.fast(header, NOW) is not None for header in headers] == [False, False, True, True, True]
    assert len(authenticator._refused) == 3


def test_the_table_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    header, other = (signed(SECRET, claims(jti=name * 200)) for name in "ab")
    monkeypatch.setattr(module, "MAX_VERIFIED_BYTES", len(header) + 100)
    authenticator = _authenticator()
    _verify(authenticator, header)
    _verify(authenticator, other)
    assert authenticator.fast(header, NOW) is None
    assert authenticator.fast(other, NOW) is not None


def test_after_a_rotation_tokens_of_a_key_that_is_gone_are_refused_although_they_were_found_before() -> None:
    events = RecordedEvents()
    now = [0.0]

    async def run() -> None:
        with serving(key_set(old=rsa_key("old"), kept=rsa_key("kept"))) as server:
            ring = KeyRing(key_source(server.url), KeyRingConfig(), clock=lambda: now[0], events=events)
            authenticator = Authenticator(ring, ClaimRules(), events=events)
            await authenticator.start()
            old, kept, new = (signed(rsa_key(name), claims(), kid=name) for name in ("old", "kept", "new"))
            for header in (old, kept):
                await authenticator.verify(header, NOW)
            with pytest.raises(Unauthenticated):
                await authenticator.verify(new, NOW)
            server.document = key_set(kept=rsa_key("kept"), new=rsa_key("new"))
            now[0] += 5
            await authenticator.verify(new, NOW)
            assert authenticator.fast(old, NOW) is None
            assert authenticator.fast(kept, NOW) is not None
            with pytest.raises(Unauthenticated, match="does not have"):
                await authenticator.verify(old, NOW)
            await authenticator.stop()

    asyncio.run(run())
    assert events.refusals == ["unknown_key", "unknown_key"]


def test_a_refused_signature_is_judged_anew_when_the_key_under_its_id_changes() -> None:
    now = [0.0]

    async def run() -> None:
        with serving(key_set(k=rsa_key("old"))) as server:
            ring = KeyRing(key_source(server.url), KeyRingConfig(), clock=lambda: now[0])
            authenticator = Authenticator(ring, ClaimRules())
            header = signed(rsa_key("new"), claims(), kid="k")
            with pytest.raises(Unauthenticated, match="signature"):
                await authenticator.verify(header, NOW)
            server.document = key_set(k=rsa_key("new"))
            now[0] += 5
            with pytest.raises(Unauthenticated):  # another token makes the ring look
                await authenticator.verify(signed(rsa_key("new"), claims(), kid="other"), NOW)
            assert (await authenticator.verify(header, NOW)).subject == "fleet-7"
            await authenticator.stop()

    asyncio.run(run())


def test_keys_that_are_unknown_are_no_fault_of_the_token() -> None:
    events = RecordedEvents()

    async def run() -> None:
        with serving(b"") as server:
            authenticator = Authenticator(KeyRing(key_source(server.url)), ClaimRules(), events=events)
            with pytest.raises(KeysUnavailable, match="try again"):
                await authenticator.verify(signed(rsa_key("a"), claims(), kid="k"), NOW)
            await authenticator.stop()

    asyncio.run(run())
    assert events.refusals == ["keys_unavailable"]


def test_nothing_of_a_token_is_logged_or_told(caplog: pytest.LogCaptureFixture) -> None:
    marked = claims(sub="marked-subject", jti="marked-id", scope="marked:scope", exp=NOW - 100)
    headers = [
        signed(SECRET, marked), signed(b"z" * 40, marked), signed(SECRET, marked, kid="marked-kid"),
        signed(SECRET, marked | {"exp": NOW + 9, "aud": "marked-audience"}), b"Bearer marked.marked.marked",
    ]  # fmt: skip
    authenticator = _authenticator(issuer="https://issuer")
    with caplog.at_level(logging.DEBUG):
        for header in headers:
            with pytest.raises(Unauthenticated) as refusal:
                _verify(authenticator, header)
            assert "marked" not in str(refusal.value)
            assert header.decode()[7:] not in str(refusal.value)
    assert "marked" not in caplog.text


def test_without_configuration_everybody_is_anonymous_and_may_do_everything() -> None:
    config = AuthenticationConfig()
    authentication = build_authentication(config)
    assert not config.is_configured
    assert not authentication.is_required
    assert authentication.fast(None, NOW) is ANONYMOUS
    assert asyncio.run(authentication.verify(b"Bearer x", NOW)) is ANONYMOUS
    assert ANONYMOUS.scopes == SCOPES


def test_a_secret_alone_takes_hs256_alone() -> None:
    authentication = build_authentication(AuthenticationConfig(secret=SECRET))
    assert authentication.is_required
    assert asyncio.run(authentication.verify(signed(SECRET, claims()), NOW)).subject == "fleet-7"
    with pytest.raises(Unauthenticated, match="must be signed with HS256"):
        asyncio.run(authentication.verify(signed(rsa_key("a"), claims()), NOW))


def test_a_key_set_alone_takes_public_keys_alone(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(key_set(k=rsa_key("a")))

    async def run() -> None:
        authentication = build_authentication(AuthenticationConfig(jwks_url=file.as_uri()))
        await authentication.start()
        assert (await authentication.verify(signed(rsa_key("a"), claims(), kid="k"), NOW)).subject == "fleet-7"
        with pytest.raises(Unauthenticated, match="must be signed with ES256 or RS256"):
            await authentication.verify(signed(SECRET, claims()), NOW)
        await authentication.stop()

    asyncio.run(run())


def test_a_secret_and_a_key_set_together_are_refused() -> None:
    with pytest.raises(SecurityMisconfigured, match="set one of"):
        build_authentication(AuthenticationConfig(secret=SECRET, jwks_url="https://issuer/jwks.json"))


def test_an_empty_secret_is_refused_rather_than_taken_for_none() -> None:
    with pytest.raises(SecurityMisconfigured, match="0 bytes"):
        build_authentication(AuthenticationConfig(secret=b""))


def test_a_secret_is_not_in_the_text_of_its_configuration() -> None:
    assert SECRET.decode() not in repr(AuthenticationConfig(secret=SECRET))


def test_a_token_of_pyjwts_own_making_is_taken() -> None:
    header = b"Bearer " + jwt.encode(claims(), SECRET, "HS256").encode()
    assert _verify(_authenticator(), header).scopes == {"telemetry:score", "models:read"}
