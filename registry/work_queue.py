"""Which ServedModels are to be looked at, each at most once at a time and once for any number of reasons.

A key that is added while it is being worked on is worked on once more afterwards, so no change is missed. It refuses to
know why a key was added: the worker reads everything anew.

Three kinds of keys wait: urgent ones, for which somebody waits; those of which something changed; and those whose time
has come, most of which only ask whether something happened meanwhile. They go in this order, and the last get every
fourth turn. While an urgent key is being worked on, what its reads and writes would have to share the API server with
is held back.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Lock

# While urgent keys are being worked on, another is given no sooner than this: nobody can hold the others up for ever.
HOLD_SECONDS = 0.5
_TURNS_OF_CHANGES = 3


@dataclass(frozen=True, order=True)
class Key:
    """A ServedModel."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class WorkQueue:
    """Keys that are due, and keys that will be.

    Args:
        clock: seconds, that never go back.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        lock = Lock()
        # Those who take any key wait for the one, and those who take urgent ones alone for the other.
        self._changed, self._hurried = Condition(lock), Condition(lock)
        self._urgent: OrderedDict[Key, None] = OrderedDict()
        self._ready: OrderedDict[Key, None] = OrderedDict()
        self._timed: OrderedDict[Key, None] = OrderedDict()
        self._turns = 0
        # Being worked on, and whether urgently.
        self._working: dict[Key, bool] = {}
        self._held_until = 0.0
        # Added while being worked on, and whether urgently.
        self._again: dict[Key, bool] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._number = itertools.count()
        self._closed = False

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Ask for a key to be worked on as soon as may be."""
        with self._changed:
            if self._closed:
                return
            if key in self._working:
                self._again[key] = self._again.get(key, False) or urgent
                return
            self._make_ready(key, urgent=urgent)

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for a key to be worked on in ``seconds`` at the latest; the earliest of several counts."""
        due = self._clock() + max(seconds, 0.0)
        with self._changed:
            if self._closed or due >= self._due.get(key, float("inf")):
                return
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._number), key))
            self._changed.notify()

    def get(self, timeout: float | None = None, *, urgent_only: bool = False) -> Key | None:
        """Return a key that is due, waiting for one; None once it is closed, or after ``timeout`` seconds.

        Whoever gets a key must say `done`.
        """
        limit = None if timeout is None else self._clock() + timeout
        news = self._hurried if urgent_only else self._changed
        with news:
            while not self._closed:
                self._take_due()
                key = self._next(urgent_only=urgent_only)
                if key is not None:
                    return key
                now = self._clock()
                if limit is not None and now >= limit:
                    return None
                ends = [end for end in (limit, None if urgent_only else self._next_moment(now)) if end is not None]
                news.wait(max(min(ends) - now, 0.0) if ends else None)
            return None

    def done(self, key: Key) -> None:
        """Say that the work on a key is over."""
        with self._changed:
            was_urgent = self._working.pop(key, False)
            urgent = self._again.pop(key, None)
            if urgent is not None and not self._closed:
                self._make_ready(key, urgent=urgent)
            if was_urgent:
                self._changed.notify_all()  # what was held back

    def forget(self, key: Key) -> None:
        """Drop what a key would have been worked on for later."""
        with self._changed:
            self._due.pop(key, None)

    def clear(self) -> None:
        """Drop everything that is not being worked on."""
        with self._changed:
            for part in (self._urgent, self._ready, self._timed, self._again, self._due):
                part.clear()
            self._heap.clear()

    def close(self) -> None:
        """Let every waiting worker go, and take nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._hurried.notify_all()

    def is_closed(self) -> bool:
        """Tell whether it takes nothing more."""
        with self._changed:
            return self._closed

    def __len__(self) -> int:
        """How many keys are due and not yet being worked on."""
        with self._changed:
            self._take_due()
            return len(self._urgent) + len(self._ready) + len(self._timed)

    def _make_ready(self, key: Key, *, urgent: bool) -> None:
        self._due.pop(key, None)
        self._timed.pop(key, None)
        if urgent:
            self._ready.pop(key, None)
            self._urgent[key] = None
            self._hurried.notify()
        elif key not in self._urgent:
            self._ready[key] = None
        self._changed.notify()

    def _take_due(self) -> None:
        while self._heap and self._heap[0][0] <= self._clock():
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) != due:
                continue  # an earlier time took its place, or it was worked on since
            del self._due[key]
            if key in self._working:
                self._again.setdefault(key, False)
            elif key not in self._urgent and key not in self._ready:
                self._timed[key] = None

    def _next_moment(self, now: float) -> float | None:
        """Return when there may be something to give although nothing was added."""
        moments = [self._heap[0][0]] if self._heap else []
        if self._is_held(now) and (self._ready or self._timed):
            moments.append(self._held_until)
        return min(moments, default=None)

    def _is_held(self, now: float) -> bool:
        return now < self._held_until and any(self._working.values())

    def _next(self, *, urgent_only: bool) -> Key | None:
        now = self._clock()
        if self._urgent:
            if not any(self._working.values()):
                self._held_until = now + HOLD_SECONDS
            return self._taken(self._urgent, urgent=True)
        if urgent_only or self._is_held(now):
            return None
        first, second = self._ready, self._timed
        if self._turns >= _TURNS_OF_CHANGES:
            first, second = second, first
        if not first and not second:
            return None
        self._turns = 0 if self._turns >= _TURNS_OF_CHANGES else self._turns + 1
        self._held_until = now + HOLD_SECONDS
        return self._taken(first or second, urgent=False)

    def _taken(self, part: OrderedDict[Key, None], *, urgent: bool) -> Key:
        key, _ = part.popitem(last=False)
        self._working[key] = urgent
        return key
