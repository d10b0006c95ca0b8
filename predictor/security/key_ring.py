"""The issuer's keys, kept fresh: read at the start, every few minutes, and when a token names a key that is not there.

One fetch at a time, and at most one every few seconds, however many tokens name unknown keys: within that time the set
just read is the proof that a key does not exist. When a fetch fails, the keys known before stay in use up to a day
(``max_stale_seconds``): while the issuer is away its tokens still expire by themselves, and refusing everybody
would make its outage ours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from predictor.security.errors import KeysUnavailable, Reason, Unauthenticated
from predictor.security.events import NoEvents, SecurityEvents
from predictor.security.key_source import KeySource, KeySourceFailed
from predictor.security.keys import PUBLIC_KEY_ALGORITHMS, BadKeySet, KeySet, VerificationKey, read_key_set

_log = logging.getLogger(__name__)


class Keys(Protocol):
    """Keys that tokens are verified with."""

    algorithms: frozenset[str]

    async def look_up(self, kid: str | None) -> VerificationKey:
        """Return the key that a token names; Unauthenticated if there is none, KeysUnavailable if none are known."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever keys came or went, before any other token is looked at."""

    def trusted(self) -> frozenset[VerificationKey]:
        """Return the keys that are trusted now."""

    async def start(self) -> None:
        """Read the keys, and keep them fresh from now on."""

    async def stop(self) -> None:
        """Keep them fresh no longer."""


class OneKey:
    """A key that never changes, whatever key id tokens name: a shared secret."""

    def __init__(self, key: VerificationKey) -> None:
        self._key = key
        self.algorithms = frozenset({key.algorithm})

    async def look_up(self, kid: str | None) -> VerificationKey:  # noqa: ARG002 - the port's shape
        """Return the key."""
        return self._key

    def on_change(self, callback: Callable[[], None]) -> None:
        """Do nothing: it never changes."""

    def trusted(self) -> frozenset[VerificationKey]:
        """Return the key."""
        return frozenset({self._key})

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class KeyRingConfig:
    """Times in seconds.

    Args:
        refresh_seconds: between two reads of the key set when nothing happens.
        refetch_seconds: the least time between two reads, whatever happens.
        max_stale_seconds: how long keys are used after the last read that worked.
        wait_seconds: how long a request waits for a read that is under way.

    """

    refresh_seconds: float = 300.0
    refetch_seconds: float = 5.0
    max_stale_seconds: float = 86_400.0
    wait_seconds: float = 6.0


class KeyRing:
    """The keys of one issuer. Everything runs on one event loop, but the fetch itself, which has a thread.

    Args:
        source: where the key set comes from.
        config: how often.
        clock: seconds, monotonic.
        events: is told of every read.

    """

    algorithms = PUBLIC_KEY_ALGORITHMS

    def __init__(
        self,
        source: KeySource,
        config: KeyRingConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        events: SecurityEvents | None = None,
    ) -> None:
        self._source = source
        self._config = config or KeyRingConfig()
        self._clock = clock
        self._events: SecurityEvents = events or NoEvents()
        self._callbacks: list[Callable[[], None]] = []
        self._set = KeySet()
        self._tried_at = float("-inf")
        self._worked_at = float("-inf")
        self._failures = 0
        self._flight: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "jwks")

    @property
    def is_known(self) -> bool:
        """Whether any key is known: what readiness may wait for."""
        return bool(self._set.keys)

    @property
    def age_seconds(self) -> float:
        """Seconds since the key set was last read; infinite before the first time."""
        return self._clock() - self._worked_at

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever keys came or went, before any other token is looked at."""
        self._callbacks.append(callback)

    def trusted(self) -> frozenset[VerificationKey]:
        """Return the keys of the newest set."""
        return frozenset(self._set.keys)

    async def start(self) -> None:
        """Read the key set once, waiting a few seconds at most, and go on reading it. It need not work."""
        await self._refetch()
        self._refreshing = asyncio.create_task(self._refresh(), name="refresh-keys")

    async def stop(self) -> None:
        """End the reading; a fetch that is under way is not waited for."""
        tasks = [task for task in (self._refreshing, self._flight) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def look_up(self, kid: str | None) -> VerificationKey:
        """Return the key of id ``kid``, reading the key set again if it is not there and the last time is not recent.

        Raises:
            Unauthenticated: the issuer has no such key.
            KeysUnavailable: that cannot be told now.

        """
        self._drop_stale()
        key = self._set.find(kid)
        if key is None and not (kid is None and self._set.keys):
            await self._refetch()
            key = self._set.find(kid)
        if key is not None:
            return key
        is_judged = self._set.keys and not self._failures and self._flight is None
        if not (is_judged or (self._set.keys and kid is None)):
            raise KeysUnavailable("the keys of the token's issuer cannot be read now: try again in a few seconds")
        if kid is None:
            raise Unauthenticated(
                Reason.UNKNOWN_KEY, "the token names no key (kid), and its issuer has several: get one that does"
            )
        raise Unauthenticated(
            Reason.UNKNOWN_KEY, "the token is signed by a key that its issuer does not have (any more): get a new token"
        )

    async def _refetch(self) -> None:
        if self._flight is None:
            if self._clock() - self._tried_at < self._config.refetch_seconds:
                return
            self._tried_at = self._clock()
            self._flight = asyncio.create_task(self._fetch(), name="fetch-keys")
        # wait, unlike awaiting the task, leaves it alone when this request is cancelled: others wait for it too.
        await asyncio.wait({self._flight}, timeout=self._config.wait_seconds)

    async def _fetch(self) -> None:
        try:
            document = await asyncio.get_running_loop().run_in_executor(self._thread, self._source.fetch)
            found = read_key_set(document)
        except (KeySourceFailed, BadKeySet) as failure:
            self._failed(failure)
        else:
            self._take(found)
        finally:
            self._flight = None

    def _failed(self, failure: Exception) -> None:
        self._failures += 1
        self._events.keys_failed()
        # Said once for each outage, not at every try.
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        _log.log(level, "the issuer's keys cannot be read, those known stay in use: %s", failure)

    def _take(self, found: KeySet) -> None:
        if self._failures:
            _log.info("the issuer's keys can be read again")
        self._failures = 0
        self._worked_at = self._clock()
        if found.keys != self._set.keys or found.left_out != self._set.left_out:
            _log.info("the issuer has %d usable keys", len(found.keys), extra={"left_out": list(found.left_out)})
        self._replace(found)
        self._events.keys_fetched(len(found.keys))

    def _replace(self, found: KeySet) -> None:
        gone = set(self._set.keys) - set(found.keys)
        new = set(found.keys) - set(self._set.keys)
        self._set = found
        if gone or new:
            for callback in self._callbacks:
                callback()

    def _drop_stale(self) -> None:
        if self._set.keys and self.age_seconds > self._config.max_stale_seconds:
            _log.error("the issuer's keys could not be read for too long: no token is taken until they can")
            self._replace(KeySet())

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self._pause())
            self._drop_stale()
            await self._refetch()

    def _pause(self) -> float:
        """Return seconds to the next read: soon after a failure, then twice as long each time."""
        if not self._failures:
            return self._config.refresh_seconds
        return min(self._config.refresh_seconds, self._config.refetch_seconds * 2.0 ** min(self._failures - 1, 10))
