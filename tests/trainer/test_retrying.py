from __future__ import annotations

from procrastinate.jobs import Job

from store.errors import StoreUnavailable
from trainer.errors import AttemptRunning, TrackingRefused, TrackingUnavailable, UntrainableBatch
from trainer.retrying import LONGEST_WAIT, Retry, wait_seconds


def job(attempts: int = 0) -> Job:
    return Job(id=7, queue="training", lock="default", queueing_lock=None, task_name="train", attempts=attempts)


def test_waits_double_up_to_half_a_minute() -> None:
    assert [wait_seconds(attempts) for attempts in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert wait_seconds(10_000) == LONGEST_WAIT


def test_a_fault_is_tried_again_until_there_were_too_many() -> None:
    retry = Retry(max_attempts=3)
    for _ in range(2):
        retry.note(7, TrackingRefused("no"))
        assert retry.get_retry_decision(exception=TrackingRefused("no"), job=job()) is not None
    retry.note(7, ValueError("no"))
    assert retry.get_retry_decision(exception=ValueError("no"), job=job()) is None


def test_outages_never_count_however_many_there_were() -> None:
    retry = Retry(max_attempts=1)
    for error in (StoreUnavailable("x"), TrackingUnavailable("x"), AttemptRunning("x")):
        retry.note(7, error)
        assert retry.get_retry_decision(exception=error, job=job(attempts=500)) is not None


def test_lost_attempts_do_not_count_as_faults() -> None:
    retry = Retry(max_attempts=2)
    retry.note(7, ValueError("first"))
    assert retry.get_retry_decision(exception=ValueError("first"), job=job(attempts=15)) is not None


def test_a_batch_that_can_never_be_trained_fails_at_once() -> None:
    retry = Retry(max_attempts=5)
    retry.note(7, UntrainableBatch("gone"))
    assert retry.get_retry_decision(exception=UntrainableBatch("gone"), job=job()) is None


def test_a_failure_that_could_not_be_written_down_is_tried_again() -> None:
    retry = Retry(max_attempts=1)
    retry.note(7, ValueError("bad"))
    assert retry.get_retry_decision(exception=StoreUnavailable("the log is away"), job=job()) is not None
