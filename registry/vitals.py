"""Which of the controller's loops still go round, and what each was last doing.

A controller at rest has nothing to reconcile, and one whose API server is away cannot: neither is ill, since its loops
go round. Ill is one of which a loop stands still, be it that a worker hangs in a look or that its thread has ended; a
restart is the remedy, and the Lease lets another replica go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

IDLE = "waiting"


@dataclass(frozen=True)
class Sign:
    """A sign of life.

    Args:
        at: when it came, by a clock that never goes back.
        pause: for how many seconds none is to be expected after it.
        doing: what the loop does since.

    """

    at: float
    pause: float
    doing: str


class Vitals:
    """The loops' signs of life.

    Args:
        clock: seconds, that never go back.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, Lock()
        self._signs: dict[str, Sign] = {}

    def beat(self, loop: str, doing: str = IDLE, *, pause: float = 0.0) -> None:
        """Note that a loop goes round."""
        with self._lock:
            self._signs[loop] = Sign(self._clock(), pause, doing)

    def leave(self, loop: str) -> None:
        """Expect no more of a loop, which has ended as it should."""
        with self._lock:
            self._signs.pop(loop, None)

    def silences(self) -> dict[str, tuple[float, str]]:
        """Return for how many seconds each loop has been silent longer than was to be expected, and what it does."""
        now = self._clock()
        with self._lock:
            return {loop: (max(now - sign.at - sign.pause, 0.0), sign.doing) for loop, sign in self._signs.items()}

    def age(self) -> float:
        """Return the longest silence."""
        return max((seconds for seconds, _ in self.silences().values()), default=0.0)

    def ailment(self, stuck_after: float) -> str | None:
        """Return which loop stands still for so many seconds, or None."""
        for loop, (seconds, doing) in sorted(self.silences().items()):
            if seconds >= stuck_after:
                return f"{loop} has not gone round for {seconds:.0f} s: {doing}"
        return None
