"""The background task, with buckets in memory that can be slow, broken or away."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence

import pytest

from predictor.hotpath.late import Late
from predictor.security.quota_leases import LeasesConfig, QuotaLeases
from predictor.security.rate_limiter import LimiterConfig, RateLimiter
from predictor.security.rate_policy import RatePolicy
from store.errors import StoreUnavailable
from store.quotas import Ask, BucketShape, Grant, QuotaSource
from tests.predictor.security.conftest import Until
from tests.predictor.security.recorded_events import RecordedEvents
from tests.predictor.security.simulated_quotas import BucketsInMemory


class Buckets:
    """Buckets in memory, by the real clock."""

    def __init__(self) -> None:
        self.buckets = BucketsInMemory()
        self.failure: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.batches: list[list[Ask]] = []
        self.tidied = 0

    def settle(self, shape: BucketShape, asks: Sequence[Ask]) -> list[Grant]:
        self.open.wait(10)
        if self.failure is not None:
            raise self.failure
        self.batches.append(list(asks))
        return self.buckets.settle(shape, asks, time.monotonic())

    def forget_full(self, shape: BucketShape) -> int:
        assert shape.rate > 0
        if self.failure is not None:
            raise self.failure
        self.tidied += 1
        return 0


class Replica:
    """A limiter with leases that run, quicker than in earnest."""

    def __init__(
        self, rate: float = 100, *, with_database: bool = True, is_connected: bool = True, **config: float
    ) -> None:
        self.buckets = Buckets()
        self.events = RecordedEvents()
        self.limiter = RateLimiter(RatePolicy(rate), LimiterConfig(interval=0.01, horizon=0.02))
        settings = LeasesConfig(**({"patience": 0.05, "alone_after": 0.1, "retry": 0.02, "gather": 0.001} | config))  # type: ignore[arg-type]
        self.source: Late[QuotaSource] = Late()
        if is_connected:
            self.source.set(self.buckets)
        self.leases = QuotaLeases(self.limiter, self.source if with_database else None, settings, events=self.events)

    async def __aenter__(self) -> Replica:
        self.leases.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.buckets.open.set()
        await self.leases.stop()

    def ask(self, subject: str = "me") -> bool:
        return self.limiter.admit(subject, time.monotonic()).admitted


def test_what_was_admitted_is_settled_soon(until_async: Until) -> None:
    async def run() -> None:
        async with Replica() as replica:
            assert replica.ask()
            await until_async(lambda: bool(replica.buckets.batches))
            assert replica.buckets.batches[0][0].owed == 1
            await until_async(lambda: bool(replica.events.leases))
            assert replica.events.leases[0] == 1
            assert not replica.leases.is_alone

    asyncio.run(run())


def test_many_subjects_are_settled_in_batches(until_async: Until) -> None:
    async def run() -> None:
        async with Replica(batch=10) as replica:
            for i in range(95):
                replica.ask(f"subject-{i}")
            await until_async(lambda: sum(map(len, replica.buckets.batches)) >= 95)
            assert max(map(len, replica.buckets.batches)) == 10
            seen = {ask.subject for batch in replica.buckets.batches for ask in batch}
            assert len(seen) == 95

    asyncio.run(run())


@pytest.mark.parametrize("failure", [StoreUnavailable("PostgreSQL does not answer"), RuntimeError("a bug")])
def test_a_failure_leaves_the_limiter_alone_until_it_is_over(
    failure: Exception, until_async: Until, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with Replica() as replica:
            replica.buckets.failure = failure
            replica.ask()
            await until_async(lambda: replica.leases.is_alone)
            await until_async(lambda: replica.events.failed_leases >= 3)
            refused = 0
            while not refused:
                refused = not replica.ask()
            await until_async(replica.ask)  # by its last share, some time later
            replica.buckets.failure = None
            await until_async(lambda: not replica.leases.is_alone)
            assert replica.events.alone == [True, False]

    with caplog.at_level(logging.INFO, logger="predictor.security"):
        asyncio.run(run())
    messages = [record.getMessage() for record in caplog.records]
    assert len([one for one in messages if "cannot be settled" in one]) == 1
    assert messages[-1] == "quotas are settled again"


def test_an_answer_that_is_late_is_not_waited_for_and_is_taken_when_it_comes(until_async: Until) -> None:
    async def run() -> None:
        async with Replica() as replica:
            replica.buckets.open.clear()
            while replica.ask():
                pass
            await until_async(replica.ask)
            await until_async(lambda: replica.leases.is_alone)
            assert replica.buckets.batches == []
            replica.buckets.open.set()
            await until_async(lambda: not replica.leases.is_alone)
            await until_async(lambda: len(replica.events.leases) >= 2)
            assert replica.events.failed_leases == 0

    asyncio.run(run())


def test_a_short_delay_is_no_outage(until_async: Until) -> None:
    async def run() -> None:
        async with Replica(alone_after=60) as replica:
            replica.buckets.open.clear()
            while replica.ask():
                pass
            await until_async(replica.ask)
            replica.buckets.open.set()
            await until_async(lambda: bool(replica.events.leases))
            assert replica.events.alone == []

    asyncio.run(run())


def test_without_a_database_the_limiter_is_alone_for_good(until_async: Until) -> None:
    async def run() -> None:
        async with Replica(with_database=False) as replica:
            replica.limiter.config = LimiterConfig(interval=0.01, hold=0.02)
            while replica.ask():
                pass
            await until_async(replica.ask)
            await until_async(lambda: replica.limiter.active_subjects == 0)
            assert replica.events.alone == [True]
            assert replica.events.failed_leases == 0

    asyncio.run(run())


def test_until_the_database_is_connected_quotas_fill_up_and_then_it_is_told_of_all_of_them(
    until_async: Until, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with Replica(is_connected=False) as replica:
            admitted = 1
            while replica.ask():
                admitted += 1
            await until_async(replica.ask)
            replica.source.set(replica.buckets)
            await until_async(lambda: bool(replica.buckets.batches))
            assert replica.buckets.batches[0][0].owed >= 1
            assert replica.buckets.batches[0][0].demand > admitted
            assert replica.events.alone == []

    with caplog.at_level(logging.INFO, logger="predictor.security"):
        asyncio.run(run())
    assert caplog.records == []  # a start is no outage


def test_an_outage_is_over_although_nobody_asks(until_async: Until) -> None:
    async def run() -> None:
        async with Replica() as replica:
            replica.buckets.failure = StoreUnavailable("away")
            replica.ask()
            await until_async(lambda: replica.leases.is_alone)
            replica.buckets.failure = None
            await until_async(lambda: not replica.leases.is_alone)

    asyncio.run(run())


def test_buckets_are_tidied_and_subjects_forgotten_now_and_then(until_async: Until) -> None:
    async def run() -> None:
        async with Replica(age=0.02) as replica:
            replica.limiter.config = LimiterConfig(interval=0.01, hold=0.02)
            replica.ask()
            await until_async(lambda: replica.buckets.tidied >= 3)
            await until_async(lambda: not replica.limiter._young and not replica.limiter._old)
            await until_async(lambda: replica.limiter.active_subjects == 0)

    asyncio.run(run())


def test_leases_that_were_not_started_can_be_stopped() -> None:
    async def run() -> None:
        await Replica().leases.stop()

    asyncio.run(run())
