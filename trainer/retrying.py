"""When a training job is tried again, and when it has failed for good. PURE."""

from __future__ import annotations

from dataclasses import dataclass, field

from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.jobs import Job

from store.errors import StoreUnavailable
from trainer.errors import AttemptRunning, TrackingUnavailable, UntrainableBatch

# Something is away that will come back; however long that takes, it says nothing against the batch.
OUTAGES = (StoreUnavailable, TrackingUnavailable)
TEMPORARY = (*OUTAGES, AttemptRunning)
LONGEST_WAIT = 30
# A job that was handed out so often, and lost with its worker again, is taken to be what ends them: by its memory, say.
MOST_LOSSES = 20


def wait_seconds(attempts: int) -> int:
    """Return how long to wait after ``attempts`` earlier ones: 1 s, then doubling up to half a minute."""
    return int(min(2 ** min(attempts, 10), LONGEST_WAIT))


@dataclass
class Retry(BaseRetryStrategy):
    """Counts the faults of each job, and gives up on the job that has too many.

    The queue's own count of attempts also has those that were lost with their worker, which prove nothing, so faults
    are counted here; a worker that starts anew begins to count anew.
    """

    max_attempts: int
    faults: dict[int, int] = field(default_factory=dict)

    def note(self, job_id: int, error: BaseException) -> None:
        """Take down that a job failed with ``error``."""
        if isinstance(error, UntrainableBatch):
            self.faults[job_id] = self.max_attempts
        elif not isinstance(error, TEMPORARY):
            self.faults[job_id] = self.faults.get(job_id, 0) + 1

    def gives_up(self, job_id: int) -> bool:
        """Tell whether a job has failed for good."""
        return self.faults.get(job_id, 0) >= self.max_attempts

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to try again, or None to give up (procrastinate asks)."""
        if job.id is not None and self.gives_up(job.id) and not isinstance(exception, TEMPORARY):
            return None
        return RetryDecision(retry_in={"seconds": wait_seconds(job.attempts)})
