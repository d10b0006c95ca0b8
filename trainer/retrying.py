"""When a training job is tried again. PURE.

Whether it is tried at all is not decided here: a job that has failed for good is over before the queue asks
(:mod:`trainer.job_runner`), so that the queue itself never gives up on one.
"""

from __future__ import annotations

from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.jobs import Job

from store.errors import StoreUnavailable
from trainer.errors import AttemptRunning, Faulted, HandedBack, TrackingUnavailable

# Something is away that will come back; however long that takes, it says nothing against the batch.
OUTAGES = (StoreUnavailable, TrackingUnavailable)
TEMPORARY = (*OUTAGES, AttemptRunning, HandedBack)
LONGEST_WAIT = 30
_NEXT_LOOK = 1


def wait_seconds(attempts: int) -> int:
    """Return how long to wait after ``attempts`` earlier ones: 1 s, then doubling up to half a minute."""
    return int(min(2 ** min(attempts, 10), LONGEST_WAIT))


class Retry(BaseRetryStrategy):
    """Says when: at once by whoever is there if we stop, later and later after faults, else in a second."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        """Return when to try again (procrastinate asks)."""
        del job
        match exception:
            case HandedBack():
                return RetryDecision(retry_at=None)
            case Faulted():
                return RetryDecision(retry_in={"seconds": wait_seconds(exception.faults - 1)})
            case _:
                return RetryDecision(retry_in={"seconds": _NEXT_LOOK})
