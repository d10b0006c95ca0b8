from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from store.batch_retention import LoggedBatch
from tests.trainer.retention.snapshots import MODEL, NOW, batch_logs, days, logged, policies, version_id
from trainer.retention.batches import old_batches
from trainer.retention.plan import Policy
from trainer.window import Bounds

_FEATURES = 4
needed_versions = st.sets(st.integers(1, 30).map(version_id), max_size=3)


def going(rows: list[LoggedBatch], policy: Policy, needed: Container[str] = (), *, later: float = 0) -> set[str]:
    now = NOW + days(later)
    return {item.id for item in old_batches(MODEL, rows, policy, features=_FEATURES, now=now, needed=needed)}


def window(rows: list[LoggedBatch], place: int, bounds: Bounds) -> set[str]:
    """The window of the batch at ``place``, as the log of batches gives it: the slow way."""
    records, held, chosen = max(1, min(bounds.records, bounds.values // _FEATURES)), 0, set()
    for row in rows[place : place + bounds.batches]:
        chosen.add(row.id)
        held += row.record_count
        if held >= records:
            break
    return chosen


@given(batch_logs(), policies(), needed_versions)
def test_what_a_training_that_can_come_would_read_stays(
    rows: list[LoggedBatch], policy: Policy, needed: set[str]
) -> None:
    gone = going(rows, policy, needed)
    for place, row in enumerate(rows):
        stays_failed = row.failed and NOW - row.touched < policy.failed_batches
        if place == 0 or row.pending or stays_failed or row.version in needed:
            assert gone.isdisjoint(window(rows, place, policy.window))


@given(batch_logs(), policies(), needed_versions)
def test_what_is_old_and_in_no_window_goes(rows: list[LoggedBatch], policy: Policy, needed: set[str]) -> None:
    kept = set[str]()
    for place, row in enumerate(rows):
        limit = max(policy.failed_batches if row.failed else policy.batches, policy.grace)
        is_old = NOW - row.touched >= limit
        if not is_old:
            kept.add(row.id)
        if place == 0 or row.pending or (row.failed and not is_old) or row.version in needed:
            kept |= window(rows, place, policy.window)
    assert going(rows, policy, needed) == {row.id for row in rows} - kept


@given(batch_logs(), policies())
def test_neither_the_young_nor_the_pending_go(rows: list[LoggedBatch], policy: Policy) -> None:
    gone = going(rows, policy)
    for row in rows:
        if row.pending or NOW - row.touched < policy.grace:
            assert row.id not in gone


@given(batch_logs(), policies())
def test_what_is_left_is_left_at_the_next_look(rows: list[LoggedBatch], policy: Policy) -> None:
    gone = going(rows, policy)
    assert going([row for row in rows if row.id not in gone], policy) == set()


@given(batch_logs(), policies(), st.floats(0, 300))
def test_what_goes_today_would_also_go_later(rows: list[LoggedBatch], policy: Policy, later: float) -> None:
    assert going(rows, policy) <= going(rows, policy, later=later)


def test_failed_batches_stay_longer_with_all_that_a_retry_would_read() -> None:
    rows = [logged(4, age=1), logged(3, age=100, failed=True), logged(2, age=100), logged(1, age=100)]
    policy = Policy(window=Bounds(20, 1000, 10))
    assert going(rows, replace(policy, window=Bounds(1, 1000, 10))) == {"batch-1", "batch-2"}
    assert going(rows, policy) == {"batch-1"}
    assert going(rows, replace(policy, failed_batches=days(99))) == {"batch-1", "batch-2"}


def test_the_window_of_a_version_that_is_served_stays() -> None:
    rows = [logged(number) for number in range(9, 0, -1)]
    policy = Policy(window=Bounds(20, 1000, 10))
    assert going(rows, policy) == {f"batch-{number}" for number in range(1, 8)}
    assert going(rows, policy, {version_id(4)}) == {"batch-1", "batch-2", "batch-5", "batch-6", "batch-7"}
