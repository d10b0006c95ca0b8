"""Which ServedModels are to be looked at, each at most once at a time and once for any number of reasons.

A key that is added while it is being worked on is worked on once more afterwards, so no change is missed. It refuses to
know why a key was added: the worker reads everything anew.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition


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
        self._changed = Condition()
        self._ready: OrderedDict[Key, None] = OrderedDict()
        # Somebody waits for these: they go first.
        self._urgent: OrderedDict[Key, None] = OrderedDict()
        self._working: set[Key] = set()
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
            self._changed.notify()

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for a key to be worked on in ``seconds`` at the latest; the earliest of several counts."""
        due = self._clock() + max(seconds, 0.0)
        with self._changed:
            if self._closed or due >= self._due.get(key, float("inf")):
                return
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._number), key))
            self._changed.notify()

    def get(self, timeout: float | None = None) -> Key | None:
        """Return a key that is due, waiting for one; None once it is closed, or after ``timeout`` seconds.

        Whoever gets a key must say `done`.
        """
        limit = None if timeout is None else self._clock() + timeout
        with self._changed:
            while not self._closed:
                self._take_due()
                key = self._next()
                if key is not None:
                    return key
                now = self._clock()
                if limit is not None and now >= limit:
                    return None
                ends = [end for end in (limit, self._heap[0][0] if self._heap else None) if end is not None]
                self._changed.wait(max(min(ends) - now, 0.0) if ends else None)
            return None

    def done(self, key: Key) -> None:
        """Say that the work on a key is over."""
        with self._changed:
            self._working.discard(key)
            urgent = self._again.pop(key, None)
            if urgent is not None and not self._closed:
                self._make_ready(key, urgent=urgent)
            self._changed.notify()

    def forget(self, key: Key) -> None:
        """Drop what a key would have been worked on for later."""
        with self._changed:
            self._due.pop(key, None)

    def clear(self) -> None:
        """Drop everything that is not being worked on."""
        with self._changed:
            for part in (self._ready, self._urgent, self._again, self._due):
                part.clear()
            self._heap.clear()

    def close(self) -> None:
        """Let every waiting worker go, and take nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def is_closed(self) -> bool:
        """Tell whether it takes nothing more."""
        with self._changed:
            return self._closed

    def __len__(self) -> int:
        """How many keys are due and not yet being worked on."""
        with self._changed:
            self._take_due()
            return len(self._ready) + len(self._urgent)

    def _make_ready(self, key: Key, *, urgent: bool) -> None:
        self._due.pop(key, None)
        if urgent:
            self._ready.pop(key, None)
            self._urgent[key] = None
        elif key not in self._urgent:
            self._ready[key] = None

    def _take_due(self) -> None:
        while self._heap and self._heap[0][0] <= self._clock():
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) != due:
                continue  # an earlier time took its place, or it was worked on since
            if key in self._working:
                del self._due[key]
                self._again.setdefault(key, False)
            else:
                self._make_ready(key, urgent=False)

    def _next(self) -> Key | None:
        for part in (self._urgent, self._ready):
            if part:
                key, _ = part.popitem(last=False)
                self._working.add(key)
                return key
        return None
