from __future__ import annotations

from datetime import UTC, datetime

from procrastinate import RetryDecision
from procrastinate.jobs import Job

from store.errors import StoreUnavailable
from trainer.errors import AttemptRunning, Faulted, HandedBack
from trainer.retrying import LONGEST_WAIT, Retry, wait_seconds


def decision(exception: BaseException, attempts: int = 0) -> RetryDecision:
    job = Job(id=7, queue="training", lock="default", queueing_lock=None, task_name="train", attempts=attempts)
    return Retry().get_retry_decision(exception=exception, job=job)


def seconds_of(decision: RetryDecision) -> float:
    assert decision.retry_at is not None
    return (decision.retry_at - datetime.now(UTC)).total_seconds()


def test_waits_double_up_to_half_a_minute() -> None:
    assert [wait_seconds(attempts) for attempts in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert wait_seconds(10_000) == LONGEST_WAIT


def test_after_a_fault_the_wait_is_by_the_number_of_faults() -> None:
    assert 0 < seconds_of(decision(Faulted(1))) <= 1
    assert 7 < seconds_of(decision(Faulted(4))) <= 8


def test_what_is_handed_back_can_be_taken_at_once_whatever_the_clocks_say() -> None:
    assert decision(HandedBack("stopping")).retry_at is None


def test_a_job_that_could_not_be_done_for_now_is_looked_at_again_soon_however_often_it_was() -> None:
    for error in (AttemptRunning("x"), StoreUnavailable("the log is away")):
        assert 0 < seconds_of(decision(error, attempts=500)) <= 1
