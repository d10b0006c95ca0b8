"""The limiter alone, and replicas of it in simulated time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.security.rate_limiter import LimiterConfig, RateLimiter
from predictor.security.rate_policy import RatePolicy
from store.quotas import Ask
from tests.predictor.security.simulated_quotas import SUBJECT, BucketsInMemory, SimulatedReplicas

Demand = Callable[[float], float]


def _steady(rate: float) -> Demand:
    return lambda _: rate


def _switch(before: float, after: float, at: float) -> Demand:
    return lambda now: before if now < at else after


def _settle(limiter: RateLimiter, buckets: BucketsInMemory, now: float) -> list[Ask]:
    asks = limiter.collect(now, 1000)
    limiter.settle(buckets.settle(limiter.shape, asks, now), now)
    return asks


def _admitted(limiter: RateLimiter, requests: int, now: float, subject: str = SUBJECT) -> int:
    return sum(limiter.admit(subject, now).admitted for _ in range(requests))


@pytest.mark.parametrize(
    ("demands", "shares"),
    [
        ([200, 200], [0.5, 0.5]),
        ([360, 40], [0.8, 0.2]),
        ([400, 0], [1.0, 0.0]),
        ([130, 130, 130, 130], [0.25] * 4),
    ],
)
def test_replicas_together_admit_the_limit_whatever_their_parts(demands: list[float], shares: list[float]) -> None:
    replicas = SimulatedReplicas(RatePolicy(200, burst=50), [_steady(demand) for demand in demands])
    replicas.run(until=21)
    for start in range(1, 16):
        assert replicas.count(start, start + 5) == pytest.approx(1000, rel=0.05)
    for replica, share in enumerate(shares):
        assert replicas.count(1, 21, replica) / 4000 == pytest.approx(share, abs=0.06)


def test_traffic_that_moves_from_one_replica_to_another_keeps_the_limit() -> None:
    replicas = SimulatedReplicas(RatePolicy(200, burst=50), [_switch(400, 0, 8), _switch(0, 400, 8)])
    replicas.run(until=16)
    for start in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10):
        assert replicas.count(start, start + 5) == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize("demands", [[95, 95], [171, 19], [190, 0]])
def test_what_stays_below_the_limit_all_passes(demands: list[float]) -> None:
    replicas = SimulatedReplicas(RatePolicy(200, burst=100), [_steady(demand) for demand in demands])
    replicas.run(until=20)
    assert replicas.count(0, 20) / len(replicas.arrivals) > 0.995


def test_without_the_database_each_replica_goes_on_with_its_last_share() -> None:
    replicas = SimulatedReplicas(RatePolicy(200, burst=200), [_steady(360), _steady(40)])
    replicas.database_is_up = lambda now: not 5 <= now < 15
    replicas.run(until=25)
    for start in range(2, 20):
        assert replicas.count(start, start + 5) == pytest.approx(1000, rel=0.05), start
    # By demand, as the buckets do not hand out any more: nine tenths and one tenth.
    assert replicas.count(6, 15, 0) / replicas.count(6, 15) == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("demands", [[200, 200], [300, 100], [150, 150, 100]])
def test_the_shares_of_all_replicas_make_one(demands: list[float]) -> None:
    replicas = SimulatedReplicas(RatePolicy(200), [_steady(demand) for demand in demands])
    sums = []
    for second in range(3, 43):
        replicas.run(until=second)
        sums.append(sum(limiter._young[SUBJECT].share for limiter in replicas.limiters))
    assert sum(sums) / len(sums) == pytest.approx(1, abs=0.012)
    assert all(one == pytest.approx(1, abs=0.15) for one in sums)


def test_without_ever_a_database_a_replica_has_its_part_of_those_assumed() -> None:
    limiter = RateLimiter(RatePolicy(100, burst=100), LimiterConfig(replicas=2))
    admitted = 0
    for tick in range(200):
        admitted += _admitted(limiter, 50, tick * 0.1)
        limiter.refill_alone(tick * 0.1)
    assert admitted == pytest.approx(20 * 50 + 25, rel=0.05)


@settings(max_examples=60, deadline=None)
@given(
    levels=st.lists(
        st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0]), min_size=4, max_size=4), min_size=1, max_size=4
    ),
    rate=st.sampled_from([1.0, 7.5, 50.0, 300.0]),
    burst_seconds=st.sampled_from([0.25, 1.0, 4.0]),
    seed=st.integers(0, 2**16),
    delay=st.sampled_from([0.0, 0.005, 0.06]),
)
def test_no_pattern_of_traffic_gets_more_than_the_bucket_gives(
    levels: list[list[float]], rate: float, burst_seconds: float, seed: int, delay: float
) -> None:
    """Requests admitted and what is left anywhere are at most what the bucket gave: its capacity, and the refill."""
    policy = RatePolicy(rate, burst=rate * burst_seconds)
    # Four seconds of traffic that changes, then silence in which everything is settled.
    demands = [lambda now, parts=parts: rate * (*parts, 0.0)[min(4, int(now))] for parts in levels]  # type: ignore[misc]
    replicas = SimulatedReplicas(policy, demands, seed=seed, delay=delay)
    for now in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        replicas.run(until=now)
        returning = sum(max(0.0, -opened.ask.want) for one in replicas.limiters for opened in one._open.values())
        assert replicas.count(0, now) + replicas.tokens() + replicas.held() <= (
            policy.capacity + rate * now + returning + 1e-6
        )
    assert replicas.held() == 0
    assert all(limiter.active_subjects == 0 for limiter in replicas.limiters)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("rate", "burst", "demands"),
    [(2, 2, [2, 2]), (5, 5, [5, 1]), (20, 20, [15, 15]), (200, 50, [150, 50]), (1, 10, [0.5, 0.4])],
)
def test_replicas_do_as_well_as_one_bucket_in_one_place(
    rate: float, burst: float, demands: list[float], seed: int
) -> None:
    replicas = SimulatedReplicas(RatePolicy(rate, burst), [_steady(demand) for demand in demands], seed=seed)
    until = 1000 / rate
    replicas.run(until=until)
    assert replicas.count(0, until) == pytest.approx(replicas.count_ideal(0, until), rel=0.05)


def test_a_single_replica_is_a_plain_token_bucket() -> None:
    limiter, buckets = RateLimiter(RatePolicy(10, burst=40)), BucketsInMemory()
    assert _admitted(limiter, 5, 0.0) == 5
    _settle(limiter, buckets, 0.01)
    assert _admitted(limiter, 100, 0.02) == 35
    _settle(limiter, buckets, 0.1)
    admitted = 0
    for tick in range(1, 101):
        admitted += _admitted(limiter, 3, tick * 0.1)
        _settle(limiter, buckets, tick * 0.1)
    assert admitted == pytest.approx(100, abs=3)


def test_a_new_subject_passes_before_its_first_settlement_and_is_charged_for_it() -> None:
    limiter, buckets = RateLimiter(RatePolicy(100)), BucketsInMemory()
    assert _admitted(limiter, 100, 0.0) == 25
    (ask,) = _settle(limiter, buckets, 0.01)
    assert ask.owed == 25
    assert ask.demand == 100
    assert buckets.tokens(limiter.shape, SUBJECT, 0.01) == pytest.approx(100 - ask.want)


def test_a_new_subject_and_one_that_is_shared_out_badly_wake_the_settling() -> None:
    woken: list[str] = []
    limiter, buckets = RateLimiter(RatePolicy(100)), BucketsInMemory()
    limiter.wake = lambda: woken.append("now")
    limiter.admit(SUBJECT, 0.0)
    assert len(woken) == 1
    _admitted(limiter, 24, 0.0)
    assert len(woken) == 1
    limiter.admit(SUBJECT, 0.0)
    assert len(woken) == 2
    _settle(limiter, buckets, 0.01)
    limiter.admit(SUBJECT, 0.02)
    assert len(woken) == 2


def test_what_is_not_used_is_given_back_and_the_subject_rests() -> None:
    limiter, buckets = RateLimiter(RatePolicy(100)), BucketsInMemory()
    for tick in range(30):
        _admitted(limiter, 5, tick * 0.1)
        _settle(limiter, buckets, tick * 0.1)
    assert limiter._young[SUBJECT].credit > 1
    for tick in range(30, 45):
        _settle(limiter, buckets, tick * 0.1)
    assert limiter._young[SUBJECT].credit == 0
    assert limiter.active_subjects == 0
    assert buckets.tokens(limiter.shape, SUBJECT, 4.5) == 100
    assert _settle(limiter, buckets, 5.0) == []


def test_a_subject_that_comes_back_finds_what_must_have_come_in_meanwhile() -> None:
    limiter, buckets = RateLimiter(RatePolicy(0.5, burst=1)), BucketsInMemory()
    assert _admitted(limiter, 1, 0.0) == 1
    for tick in range(1, 20):
        _settle(limiter, buckets, tick * 0.1)
    assert _admitted(limiter, 1, 1.95) == 0
    assert _admitted(limiter, 1, 4.2) == 1


def test_subjects_do_not_share() -> None:
    limiter = RateLimiter(RatePolicy(5))
    assert _admitted(limiter, 10, 0.0, "a") == 5
    assert _admitted(limiter, 10, 0.0, "b") == 5


def test_subjects_not_seen_for_two_ages_are_forgotten() -> None:
    limiter, buckets = RateLimiter(RatePolicy(5)), BucketsInMemory()
    limiter.admit("a", 0.0)
    for now in (0.1, 2.0, 3.1, 4.2):
        _settle(limiter, buckets, now)
    limiter.age()
    limiter.admit("b", 5.0)
    assert "a" in limiter._old
    limiter.age()
    assert "a" not in limiter._old
    assert "b" in limiter._old
    before = limiter._old["b"]
    limiter.admit("b", 5.1)
    assert limiter._young["b"] is before


def test_memory_is_bounded_by_subjects_and_none_is_settled_twice_at_once() -> None:
    limiter, buckets = RateLimiter(RatePolicy(5), LimiterConfig(max_subjects=10)), BucketsInMemory()
    for i in range(1000):
        limiter.admit(f"subject-{i % 100}", i * 0.0001)
        assert len(limiter._young) + len(limiter._old) <= 11
    asks = _settle(limiter, buckets, 0.1)
    assert len({ask.subject for ask in asks}) == len(asks) == 100
    for tick in range(1, 60):
        _settle(limiter, buckets, 0.1 + tick * 0.1)
    assert limiter.active_subjects == 0
    assert sum(5 - buckets.rows[f"subject-{i}"][0] for i in range(100)) <= 500


def test_asks_that_nobody_answered_are_asked_again() -> None:
    limiter, buckets = RateLimiter(RatePolicy(100)), BucketsInMemory()
    _admitted(limiter, 10, 0.0)
    first = limiter.collect(0.1, 100)
    limiter.give_up()
    _admitted(limiter, 1, 0.15)
    (again,) = _settle(limiter, buckets, 0.2)
    assert (first[0].owed, again.owed) == (10, 11)
    assert again.demand == 11


def test_a_budget_bounds_how_many_subjects_are_looked_at() -> None:
    limiter, buckets = RateLimiter(RatePolicy(100)), BucketsInMemory()
    for i in range(10):
        limiter.admit(f"s{i}", 0.0)
    seen = set()
    for _ in range(3):
        asks = limiter.collect(0.1, 4)
        assert len(asks) <= 4
        seen |= {ask.subject for ask in asks}
        limiter.settle(buckets.settle(limiter.shape, asks, 0.1), 0.1)
    assert len(seen) == 10


def test_a_subject_that_rests_while_alone_has_its_share_again_and_no_more() -> None:
    limiter = RateLimiter(RatePolicy(10, burst=40), LimiterConfig(replicas=2))
    assert _admitted(limiter, 100, 0.0) == 10
    for tick in range(1, 200):
        limiter.refill_alone(tick * 0.1)
    assert limiter.active_subjects == 0
    assert _admitted(limiter, 20, 20.0) == 20
    limiter.refill_alone(20.1)
    assert _admitted(limiter, 100, 20.3) == 0
    limiter.refill_alone(21.11)
    assert _admitted(limiter, 100, 21.11) == 5


def test_a_long_outage_keeps_only_subjects_with_traffic() -> None:
    limiter = RateLimiter(RatePolicy(10))
    for tick in range(500):
        for i in range(20):
            limiter.admit(f"{tick}-{i}", tick * 0.1)
        limiter.refill_alone(tick * 0.1)
        limiter.collect(tick * 0.1, 50)
        limiter.give_up()
        assert limiter.active_subjects <= 20 * 14
