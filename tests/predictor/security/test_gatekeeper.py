from __future__ import annotations

import asyncio

import pytest

from predictor.hotpath.admission import Admitted
from predictor.hotpath.exchange import Scope
from predictor.security.authenticator import Anonymous, Authenticator
from predictor.security.claims import ClaimRules
from predictor.security.errors import Forbidden, RateLimited, Unauthenticated
from predictor.security.gatekeeper import Gatekeeper
from predictor.security.key_ring import OneKey
from predictor.security.keys import secret_key
from predictor.security.rate_limiter import RateLimiter
from predictor.security.rate_policy import RatePolicy
from tests.predictor.security.issuers import NOW, SECRET, claims, signed
from tests.predictor.security.recorded_events import RecordedEvents

HERE = "192.0.2.1"
TOKEN = signed(SECRET, claims(scope="telemetry:score"))


class Gate:
    """A gatekeeper that wants HS256 tokens and lets two requests of a subject pass, at a time that tests set."""

    def __init__(self, *, authenticates: bool = True, limits: bool = True) -> None:
        self.now = NOW
        self.events = RecordedEvents()
        self.limiter = RateLimiter(RatePolicy(0.001, burst=2)) if limits else None
        authentication = Anonymous()
        if authenticates:
            authentication = Authenticator(OneKey(secret_key(SECRET)), ClaimRules(leeway=0), events=self.events)
        self.keeper = Gatekeeper(
            authentication, self.limiter, events=self.events, clock=lambda: self.now, steady=lambda: self.now - NOW
        )

    def quick(self, token: bytes | None, scope: Scope | None = "telemetry:score", client: str = HERE) -> object:
        return self.keeper.quick(token, scope, client)

    def full(self, token: bytes | None, scope: Scope | None = "telemetry:score", client: str = HERE) -> Admitted:
        return asyncio.run(self.keeper.full(token, scope, client))


def test_where_nothing_is_configured_everybody_passes_as_nobody() -> None:
    gate = Gate(authenticates=False, limits=False)
    for admitted in (gate.quick(None), gate.quick(b"whatever", "models:write"), gate.full(None)):
        assert admitted == Admitted("anonymous")


def test_what_needs_no_scope_needs_no_token_and_takes_no_quota() -> None:
    gate = Gate()
    for _ in range(5):
        assert gate.quick(None, None) == gate.full(b"Bearer nonsense", None) == Admitted("anonymous")
    assert gate.events.refusals == []


def test_a_new_token_must_be_verified_and_then_passes_quickly_until_it_expires() -> None:
    gate = Gate(limits=False)
    assert gate.quick(TOKEN) is None
    assert gate.full(TOKEN) == gate.quick(TOKEN) == Admitted("fleet-7")
    gate.now += 300
    assert gate.quick(TOKEN) is None
    with pytest.raises(Unauthenticated, match="expired"):
        gate.full(TOKEN)


def test_a_missing_scope_is_refused_quickly_too_and_counted_each_time() -> None:
    gate = Gate(limits=False)
    gate.full(TOKEN)
    with pytest.raises(Forbidden):
        gate.quick(TOKEN, "models:read")
    with pytest.raises(Forbidden):
        gate.full(TOKEN, "telemetry:ingest")
    assert gate.events.refusals == ["missing_scope", "missing_scope"]


def test_whoever_passes_is_told_of_the_quota_and_whoever_does_not_as_well() -> None:
    gate = Gate()
    assert [gate.full(TOKEN).headers[1][1][:14] for _ in range(2)] == [b'"default";r=1;', b'"default";r=0;']
    for ask in (gate.quick, gate.full):
        with pytest.raises(RateLimited) as refusal:
            ask(TOKEN)
        assert dict(refusal.value.headers).keys() == {b"ratelimit", b"ratelimit-policy"}
        assert refusal.value.retry_after == 1000
    assert gate.events.refusals == ["rate_limited", "rate_limited"]


def test_what_is_refused_for_its_token_or_scope_takes_nothing_from_the_quota() -> None:
    gate = Gate()
    for _ in range(5):
        with pytest.raises(Forbidden):
            gate.full(TOKEN, "models:read")
        with pytest.raises(Unauthenticated):
            gate.full(signed(b"z" * 40, claims()))
    assert [gate.full(TOKEN).subject for _ in range(2)] == ["fleet-7", "fleet-7"]


def test_a_subject_has_one_quota_whatever_its_tokens_and_addresses_and_an_address_only_if_nobody_is_known() -> None:
    gate = Gate()
    for address in ("192.0.2.1", "192.0.2.2"):
        gate.full(signed(SECRET, claims(jti=address)), client=address)
    with pytest.raises(RateLimited):
        gate.full(TOKEN, client="192.0.2.3")
    assert gate.full(signed(SECRET, claims(sub="192.0.2.3")), client="192.0.2.3")
    unknown = Gate(authenticates=False)
    assert [unknown.quick(token, client=HERE) is not None for token in (None, TOKEN)] == [True, True]
    with pytest.raises(RateLimited):
        unknown.quick(b"Bearer another", client=HERE)
    assert unknown.quick(None, client="192.0.2.2")
