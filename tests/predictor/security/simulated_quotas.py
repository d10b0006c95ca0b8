"""Replicas on shared buckets in simulated time: the real limiter, buckets in memory, a clock that the test moves."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence

from predictor.security.rate_limiter import LimiterConfig, RateLimiter
from predictor.security.rate_policy import RatePolicy
from store.quotas import Ask, BucketShape, Grant

SUBJECT = "fleet"


class BucketsInMemory:
    """The shared buckets, at a time that is passed in."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[float, float, float]] = {}

    def settle(self, shape: BucketShape, asks: Sequence[Ask], now: float) -> list[Grant]:
        return [self._settle(shape, ask, now) for ask in asks]

    def tokens(self, shape: BucketShape, subject: str, now: float) -> float:
        tokens, _, at = self.rows.get(subject, (shape.capacity, 0.0, now))
        return min(shape.capacity, tokens + shape.rate * (now - at))

    def _settle(self, shape: BucketShape, ask: Ask, now: float) -> Grant:
        level = self.tokens(shape, ask.subject, now)
        _, demand, at = self.rows.get(ask.subject, (0.0, 0.0, now))
        granted = ask.want if ask.want < 0 else max(ask.owed, min(ask.want, max(level, 0.0)))
        left = min(shape.capacity, level - granted)
        demand = demand * math.exp((at - now) / shape.memory_seconds) + ask.demand / shape.memory_seconds
        self.rows[ask.subject] = (left, demand, now)
        return Grant(ask.subject, granted, left, demand)


class SimulatedReplicas:
    """Replicas that get requests at rates which may change with time, and settle at their own random moments."""

    def __init__(
        self, policy: RatePolicy, demands: Sequence[Callable[[float], float]], *, seed: int = 1, delay: float = 0.004
    ) -> None:
        self.buckets = BucketsInMemory()
        self.limiters = [RateLimiter(policy, LimiterConfig()) for _ in demands]
        self.admitted: list[list[float]] = [[] for _ in demands]
        self.arrivals: list[float] = []
        self.database_is_up: Callable[[float], bool] = lambda _: True
        self.now = 0.0
        self._demands = demands
        self._random = random.Random(seed)  # noqa: S311 - the same traffic for the same seed
        self._delay = delay
        self._waiting: dict[int, list[Grant]] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        for replica, limiter in enumerate(self.limiters):
            limiter.wake = lambda replica=replica: self._in(0.01, lambda: self._settle(replica))  # type: ignore[misc]
            self._in(self._random.uniform(0, 0.1), lambda replica=replica: self._tick(replica))  # type: ignore[misc]
            self._in(self._random.uniform(0, 0.01), lambda replica=replica: self._arrive(replica))  # type: ignore[misc]

    def run(self, until: float) -> None:
        """Let everything happen that is due before ``until``."""
        while self._events and self._events[0][0] < until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until

    def count(self, start: float, end: float, replica: int | None = None) -> int:
        """How many requests were admitted in a stretch of time, by one replica or all."""
        chosen = self.admitted if replica is None else [self.admitted[replica]]
        return sum(start <= at < end for times in chosen for at in times)

    def tokens(self) -> float:
        """How many requests the shared bucket holds now."""
        return self.buckets.tokens(self.limiters[0].shape, SUBJECT, self.now)

    def held(self) -> float:
        """How many requests the replicas hold, less what they owe."""
        return sum(known.credit for limiter in self.limiters for known in limiter._young.values())

    def count_ideal(self, start: float, end: float) -> int:
        """How many of the same requests one bucket in one place would have admitted."""
        policy = self.limiters[0].policy
        tokens, at, count = policy.capacity, 0.0, 0
        for now in self.arrivals:
            tokens, at = min(policy.capacity, tokens + policy.rate * (now - at)), now
            if tokens >= 1:
                tokens -= 1
                count += start <= now < end
        return count

    def _in(self, seconds: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, event))

    def _arrive(self, replica: int) -> None:
        demand = self._demands[replica](self.now)
        if demand <= 0:
            self._in(0.01, lambda: self._arrive(replica))
            return
        self.arrivals.append(self.now)
        if self.limiters[replica].admit(SUBJECT, self.now).admitted:
            self.admitted[replica].append(self.now)
        self._in(self._random.expovariate(demand), lambda: self._arrive(replica))

    def _tick(self, replica: int) -> None:
        self._settle(replica)
        self._in(self._random.uniform(0.05, 0.15), lambda: self._tick(replica))

    def _settle(self, replica: int) -> None:
        limiter = self.limiters[replica]
        if replica in self._waiting:
            return
        if not self.database_is_up(self.now):
            limiter.refill_alone(self.now)
            return
        asks = limiter.collect(self.now, 100)
        there, back = (self._random.uniform(0, self._delay) for _ in range(2))

        def arrived() -> None:
            self._waiting[replica] = self.buckets.settle(limiter.shape, asks, self.now)
            self._in(back, returned)

        def returned() -> None:
            limiter.settle(self._waiting.pop(replica), self.now)

        self._waiting[replica] = []
        self._in(there, arrived)
