"""Keeps several senders abreast, so that every kind of request is spread over the whole run."""

from __future__ import annotations

import threading
from collections.abc import Iterable

# In ten million requests that is 140 calls over gRPC, all of one subject: fewer than may come at once.
_LEAD = 0.001


class Pace:
    """Lets nobody run ahead of the slowest by more than a thousandth of the run.

    Args:
        names: the senders that wait for each other.

    """

    def __init__(self, names: Iterable[str]) -> None:
        self._done = dict.fromkeys(names, 0.0)
        self._changed = threading.Condition()
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether everybody is to stop."""
        return self._is_over

    def reach(self, name: str, share: float) -> None:
        """Note that a sender has done so much of its part, 0 to 1; return when it may go on."""
        with self._changed:
            self._done[name] = share
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_over or share <= min(self._done.values()) + _LEAD or share >= 1)

    def follow(self, share: float) -> None:
        """Return when everybody has done so much; for somebody whom nobody waits for."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or share <= min(self._done.values()))

    def end(self) -> None:
        """Have nobody wait any longer: the run is over, or broken."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
