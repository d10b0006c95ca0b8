from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.security.errors import Reason, SecurityMisconfigured
from predictor.security.rate_limiter import RateLimiter
from predictor.security.rate_policy import RatePolicy, Verdicts, refused


@pytest.mark.parametrize(
    ("rate", "burst", "policy", "first"),
    [
        (100, None, b'"default";q=100;w=1', b'"default";r=99;t=1'),
        (100, 150, b'"default";q=150;w=2', b'"default";r=149;t=1'),
        (0.5, None, b'"default";q=1;w=2', b'"default";r=0;t=2'),
        (10, 600, b'"default";q=600;w=60', b'"default";r=599;t=1'),
        (1000, 1, b'"default";q=250;w=1', b'"default";r=249;t=1'),
        (30_000, None, b'"default";q=30000;w=1', b'"default";r=29970;t=1'),
    ],
)
def test_the_first_request_of_a_subject_is_told_the_policy_and_what_remains(
    rate: float, burst: float | None, policy: bytes, first: bytes
) -> None:
    verdict = RateLimiter(RatePolicy(rate, burst)).admit("me", 0.0)
    assert verdict.admitted
    assert verdict.headers == ((b"ratelimit-policy", policy), (b"ratelimit", first))
    assert verdict.retry_after == 0


def test_a_refused_request_is_told_when_to_come_again_and_the_two_agree() -> None:
    limiter = RateLimiter(RatePolicy(0.2, burst=2))
    verdicts = [limiter.admit("me", 0.0) for _ in range(3)]
    assert [one.admitted for one in verdicts] == [True, True, False]
    last = verdicts[-1]
    assert (last.remaining, last.retry_after, last.reset) == (0, 5, 5)
    assert last.headers == ((b"ratelimit-policy", b'"default";q=2;w=10'), (b"ratelimit", b'"default";r=0;t=5'))
    error = refused(limiter.policy, last)
    assert (error.reason, error.retry_after, error.headers) == (Reason.RATE_LIMITED, 5, last.headers)
    assert "more than 0.2 requests a second" in str(error)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e10])
@pytest.mark.parametrize("burst", [None, 5])
def test_what_is_no_limit_is_refused(rate: float, burst: float | None) -> None:
    with pytest.raises(SecurityMisconfigured, match="numbers above 0"):
        RatePolicy(rate, burst)


@pytest.mark.parametrize("burst", [float("nan"), float("inf")])
def test_what_is_no_burst_is_refused(burst: float) -> None:
    with pytest.raises(SecurityMisconfigured, match="numbers above 0"):
        RatePolicy(1, burst)


@given(rate=st.floats(1e-3, 1e6), burst=st.none() | st.floats(1, 1e6))
def test_every_verdict_of_every_policy_is_well_formed(rate: float, burst: float | None) -> None:
    policy = RatePolicy(rate, burst)
    verdicts = Verdicts(policy)
    assert len(verdicts.passing) <= 1002
    remaining = [verdict.remaining for verdict in verdicts.passing]
    assert remaining == sorted(remaining)
    assert remaining[0] >= 0
    assert remaining[-1] <= verdicts.passing[0].limit
    for verdict in (*verdicts.passing[:: max(1, len(remaining) // 7)], verdicts.refusing(0.3), verdicts.refusing(1e9)):
        (_, policy_value), (_, value), *_ = verdict.headers
        assert re.fullmatch(rb'"default";q=[1-9]\d*;w=[1-9]\d*', policy_value)
        assert re.fullmatch(rb'"default";r=\d+;t=\d+', value)
    assert verdicts.refusing(1e9).retry_after == 3600
    assert verdicts.refusing(0.3).retry_after == 1


@given(st.lists(st.floats(0, 0.5), max_size=60), st.sampled_from([0.5, 3.0, 40.0]))
def test_what_remains_is_never_less_than_none_and_never_more_than_the_limit(pauses: list[float], rate: float) -> None:
    limiter = RateLimiter(RatePolicy(rate))
    now = 0.0
    for pause in pauses:
        now += pause
        verdict = limiter.admit("me", now)
        assert 0 <= verdict.remaining <= verdict.limit
        limiter.refill_alone(now)
