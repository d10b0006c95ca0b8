"""How long to leave a ServedModel alone that could not be looked at: about as long as that has been so.

It goes by time and not by the number of failures: while the API server falters every watch event brings a look of its
own, and a wait that doubled with each of them would be at its longest within seconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from threading import Lock

from registry.work_queue import Key

SHORTEST_SECONDS, LONGEST_SECONDS = 0.5, 30.0
_FORGOTTEN_SECONDS = 4 * LONGEST_SECONDS


class Backoff:
    """Which ServedModels fail, and since when.

    Args:
        clock: seconds, that never go back.
        chance: a number from 0 to 1, so that many that failed together do not come back together.

    """

    def __init__(self, clock: Callable[[], float], chance: Callable[[], float] = random.random) -> None:
        self._clock, self._chance = clock, chance
        # The first and the last of the failures in a row.
        self._failing: dict[Key, tuple[float, float]] = {}
        self._lock = Lock()

    def failed(self, key: Key) -> float:
        """Return after how many seconds to try again, from 0.8 to 1.2 times the time that it has failed for."""
        now = self._clock()
        with self._lock:
            since, last = self._failing.get(key, (now, now))
            if now - last > _FORGOTTEN_SECONDS:
                since = now  # another replica looked at it meanwhile
            self._failing[key] = since, now
        return min(max(now - since, SHORTEST_SECONDS), LONGEST_SECONDS) * (0.8 + 0.4 * self._chance())

    def worked(self, key: Key) -> None:
        """Note that a ServedModel could be looked at."""
        with self._lock:
            self._failing.pop(key, None)
