"""One worker process's signs of life, and the tally of what it did: plain numbers that any thread may read.

The event loop writes ``tick``, the job's thread the rest. Nothing here knows HTTP or metrics, nor acts on what it says:
see :mod:`trainer.health_server`, and :mod:`trainer.worker`, which ends a process that is beyond help.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["trained", "fault", "failed", "outage", "handed_back"]
OUTCOMES: tuple[Outcome, ...] = ("trained", "fault", "failed", "outage", "handed_back")
BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


@dataclass(frozen=True)
class Patience:
    """How long, in seconds, what should go on may stand still.

    Args:
        silence: the event loop, before the worker is unhealthy.
        start: the same while it starts, which is mostly importing.
        attempt: one attempt at a batch, waits for outages not counted, before it counts as stuck.

    """

    silence: float
    start: float
    attempt: float


@dataclass(frozen=True)
class Doing:
    """The job under way: the queue's id of it and of this worker, its batch, and since when the attempt has moved."""

    job_id: int
    worker_id: int
    batch_id: str
    since: float
    waits: bool = False


class Vitals:
    """What one worker process shows of itself.

    Args:
        clock: gives seconds that only grow.
        patience: when it is not well any more.

    """

    def __init__(self, clock: Callable[[], float], patience: Patience) -> None:
        self._clock = clock
        self.patience = patience
        self._started = clock()
        self._ticked: float | None = None
        self.doing: Doing | None = None
        self.outcomes: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        self.taken_over = 0
        # Trainings by their duration: a count for each bucket, the last being what is longer than all.
        self.durations = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def tick(self) -> None:
        """Say that the event loop has turned."""
        self._ticked = self._clock()

    def count(self, outcome: Outcome) -> None:
        """Count how something ended."""
        self.outcomes[outcome] += 1

    @contextmanager
    def job(self, job_id: int, worker_id: int, batch_id: str) -> Iterator[None]:
        """Show a job as under way."""
        self.doing = Doing(job_id, worker_id, batch_id, self._clock())
        try:
            yield
        finally:
            self.doing = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Show the job as waiting for an outage to pass, which may take as long as it takes."""
        before = self.doing
        if before is not None:
            self.doing = Doing(before.job_id, before.worker_id, before.batch_id, before.since, waits=True)
        try:
            yield
        finally:
            if before is not None:
                self.doing = Doing(before.job_id, before.worker_id, before.batch_id, self._clock())

    @contextmanager
    def training(self) -> Iterator[None]:
        """Time a training that ends well."""
        began = self._clock()
        yield
        seconds = self._clock() - began
        self.durations[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds
        self.count("trained")

    def silent_for(self) -> float:
        """Return the seconds since the event loop last turned, or since the start."""
        return self._clock() - (self._started if self._ticked is None else self._ticked)

    def stuck(self) -> Doing | None:
        """Return the job whose attempt takes too long, if one does."""
        doing = self.doing
        if doing is None or doing.waits or self._clock() - doing.since <= self.patience.attempt:
            return None
        return doing

    def ailment(self) -> str | None:
        """Return what is wrong with this worker, or None if it is well."""
        silent = self.silent_for()
        if silent > (self.patience.start if self._ticked is None else self.patience.silence):
            return f"the event loop has not turned for {silent:.0f} s"
        if (stuck := self.stuck()) is not None:
            return f"the attempt at batch {stuck.batch_id} has not ended within {self.patience.attempt:g} s"
        return None
