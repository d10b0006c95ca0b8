"""Settles a replica's quotas with the shared buckets in the background, several times a second.

The buckets' answers are waited for in a thread, so requests never are. When no answer comes in time, or a bad one, the
limiter goes on alone with its last known shares, and the buckets are tried again twice a second.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from predictor.hotpath.late import Late
from predictor.security.events import NoEvents, SecurityEvents
from predictor.security.rate_limiter import RateLimiter
from store.errors import StoreUnavailable
from store.quotas import QuotaSource

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeasesConfig:
    """Times in seconds.

    Args:
        patience: how long an answer may take before the limiter helps itself to its last shares.
        alone_after: how long it may take before that is called an outage.
        retry: time between two tries in an outage.
        gather: how long to wait after a new subject came, for others that come with it.
        batch: most subjects in one settlement, and so between two turns of other work on the event loop.
        age: after this long without a request a subject is forgotten.

    """

    patience: float = 0.15
    alone_after: float = 1.0
    retry: float = 0.5
    gather: float = 0.01
    batch: int = 500
    age: float = 60.0


class QuotaLeases:
    """The background task of one limiter, on the limiter's event loop.

    Args:
        limiter: whose quotas are settled.
        source: the shared buckets, as soon as they are there; None where there will be none, so that the limiter is
            alone for good.
        config: how often.
        clock: the clock whose time the limiter's callers pass in.
        events: is told of every settlement.

    """

    def __init__(
        self,
        limiter: RateLimiter,
        source: Late[QuotaSource] | None,
        config: LeasesConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        events: SecurityEvents | None = None,
    ) -> None:
        self._limiter = limiter
        self._source = source
        self._config = config or LeasesConfig()
        self._clock = clock
        self._events: SecurityEvents = events or NoEvents()
        self._woken = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "quotas")
        self._task: asyncio.Task[None] | None = None
        self._late: asyncio.Future[Any] | None = None
        self._is_alone = False
        self._sent_at = self._retry_at = self._age_at = float("-inf")

    @property
    def is_alone(self) -> bool:
        """Whether the limiter goes by its last known shares, because the buckets do not answer."""
        return self._is_alone

    def start(self) -> None:
        """Begin; must be called on the event loop."""
        self._limiter.wake = self._woken.set
        self._task = asyncio.create_task(self._run(), name="lease-quotas")

    async def stop(self) -> None:
        """End; leases that are not used up are lost, which is a fraction of a second's requests."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while True:
            await self._pause()
            await self._tick()

    async def _pause(self) -> None:
        # At random, because the buckets serve whoever asks first: at fixed times that would always be the same replica.
        seconds = self._limiter.config.interval * random.uniform(0.5, 1.5)  # noqa: S311 - nobody gains by guessing it
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return
        await asyncio.sleep(self._config.gather)
        self._woken.clear()

    async def _tick(self) -> None:
        now = self._clock()
        source = None if self._source is None else self._source.value
        if source is None:
            self._note_no_source()
        elif self._late is None:
            if now >= self._retry_at:
                await self._settle_all(source)
        elif self._late.done():
            self._finish(self._late)
        elif now - self._sent_at >= self._config.alone_after and not self._is_alone:
            self._be_alone("no answer")
        if source is None or self._is_alone or self._late is not None:
            self._limiter.refill_alone(self._clock())
        if now >= self._age_at:
            self._limiter.age()
            self._age_at = now + self._config.age

    def _note_no_source(self) -> None:
        if self._source is not None:
            return  # the process is starting, and there soon will be one
        if not self._is_alone:
            self._is_alone = True
            self._events.quotas_alone(True)
            _log.info("there is no database to share quotas by: this replica enforces them all by itself")

    async def _settle_all(self, source: QuotaSource) -> None:
        """Settle all active subjects in batches, and tidy the buckets up now and then; end early when it fails."""
        unseen = self._limiter.active_subjects
        while unseen > 0:
            asks = self._limiter.collect(self._clock(), self._config.batch)
            unseen -= self._config.batch
            if asks and not await self._send(partial(source.settle, self._limiter.shape, asks), len(asks)):
                return
            # Other work has its turn between two batches, whether there was something to wait for or not.
            await asyncio.sleep(0)
        if self._is_alone or self._clock() >= self._age_at:
            await self._send(partial(source.forget_full, self._limiter.shape), 0)

    async def _send(self, work: Callable[[], Any], subjects: int) -> bool:
        """Have the thread do ``work``, and tell whether it was answered in time and well."""
        self._sent_at = self._clock()
        flight = asyncio.get_running_loop().run_in_executor(self._thread, work)
        await asyncio.wait({flight}, timeout=self._config.patience)
        if not flight.done():
            self._late = flight
            return False
        return self._finish(flight, subjects)

    def _finish(self, flight: asyncio.Future[Any], subjects: int = 0) -> bool:
        self._late = None
        try:
            answer = flight.result()
        except StoreUnavailable as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - without settlements the limiter would soon refuse everybody
            _log.exception("settling quotas failed")
            self._fail(type(error).__name__)
        else:
            self._limiter.settle(answer if isinstance(answer, list) else (), self._clock())
            self._events.quotas_leased(subjects, self._clock() - self._sent_at)
            self._be_together()
            return True
        return False

    def _fail(self, why: str) -> None:
        self._limiter.give_up()
        self._retry_at = self._clock() + self._config.retry
        self._events.quotas_failed()
        self._be_alone(why)

    def _be_alone(self, why: str) -> None:
        if not self._is_alone:
            self._is_alone = True
            self._events.quotas_alone(True)
            _log.warning("quotas cannot be settled (%s): this replica enforces its last shares of them", why)

    def _be_together(self) -> None:
        if self._is_alone:
            self._is_alone = False
            self._events.quotas_alone(False)
            _log.info("quotas are settled again")
