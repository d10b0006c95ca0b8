from __future__ import annotations

import time
from threading import Thread

from registry.work_queue import HOLD_SECONDS, Key, WorkQueue

A, B, C = Key("n", "a"), Key("n", "b"), Key("n", "c")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_key_added_many_times_is_given_once() -> None:
    queue = WorkQueue(Clock())
    for _ in range(3):
        queue.add(A)
    assert len(queue) == 1
    assert queue.get() == A
    assert queue.get(timeout=0) is None


def test_a_key_added_while_it_is_worked_on_is_given_again_afterwards_and_not_before() -> None:
    queue = WorkQueue(Clock())
    queue.add(A)
    assert queue.get() == A
    queue.add(A)
    assert queue.get(timeout=0) is None
    queue.done(A)
    assert queue.get(timeout=0) == A


def test_a_key_with_a_delay_is_given_when_it_is_due() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    queue.add_after(A, 5)
    assert queue.get(timeout=0) is None
    clock.now += 5
    assert queue.get(timeout=0) == A


def test_of_several_delays_the_earliest_counts_and_the_others_bring_nothing() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    for seconds in (5, 1, 9):
        queue.add_after(A, seconds)
    clock.now += 1
    assert queue.get(timeout=0) == A
    queue.done(A)
    clock.now += 10
    assert queue.get(timeout=0) is None


def test_a_key_that_is_due_while_it_is_worked_on_is_given_afterwards() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    queue.add(A)
    assert queue.get() == A
    queue.add_after(A, 1)
    clock.now += 2
    assert queue.get(timeout=0) is None
    queue.done(A)
    assert queue.get(timeout=0) == A


def test_an_urgent_key_goes_before_others_even_if_it_waits_already() -> None:
    queue = WorkQueue(Clock())
    for key in (A, B, C):
        queue.add(key)
    queue.add(C, urgent=True)
    assert queue.get(timeout=0) == C
    queue.done(C)
    assert [queue.get(timeout=0), queue.get(timeout=0)] == [A, B]


def test_a_key_added_urgently_while_it_is_worked_on_is_urgent_afterwards() -> None:
    queue = WorkQueue(Clock())
    queue.add(A)
    assert queue.get() == A
    queue.add(B)
    queue.add(A, urgent=True)
    queue.done(A)
    assert queue.get() == A


def test_clearing_forgets_what_waits_and_what_is_due() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    queue.add(A)
    queue.add_after(B, 1)
    queue.clear()
    clock.now += 2
    assert queue.get(timeout=0) is None


def test_closing_lets_waiting_workers_go_and_takes_nothing_more() -> None:
    queue = WorkQueue(Clock())
    found: list[Key | None] = []
    worker = Thread(target=lambda: found.append(queue.get()))
    worker.start()
    queue.close()
    worker.join(10)
    queue.add(A)
    assert found == [None]
    assert queue.is_closed()
    assert len(queue) == 0


def test_an_urgent_key_goes_before_changes_and_a_change_before_what_is_due_by_time() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    queue.add_after(C, 1)
    clock.now += 1
    assert len(queue) == 1
    queue.add(A)
    queue.add(B, urgent=True)
    assert [given(queue), given(queue), given(queue)] == [B, A, C]


def test_changes_without_end_do_not_keep_what_is_due_by_time_waiting_for_ever() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    queue.add_after(C, 1)
    clock.now += 1
    turns = []
    for _ in range(5):
        queue.add(A)
        turns.append(given(queue))
    assert turns == [A, A, A, C, A]


def test_while_an_urgent_key_is_worked_on_others_wait_but_not_for_ever() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    queue.add(A, urgent=True)
    queue.add(B)
    queue.add(C)
    assert queue.get(timeout=0) == A
    assert queue.get(timeout=0) is None
    clock.now += HOLD_SECONDS
    assert queue.get(timeout=0) == B
    assert queue.get(timeout=0) is None
    queue.done(A)
    assert queue.get(timeout=0) == C


def test_a_worker_that_was_held_back_goes_on_when_the_urgent_work_is_done() -> None:
    queue = WorkQueue(time.monotonic)
    queue.add(A, urgent=True)
    queue.add(B)
    assert queue.get(timeout=0) == A
    got: list[Key | None] = []
    worker = Thread(target=lambda: got.append(queue.get(timeout=30)))
    worker.start()
    queue.done(A)
    worker.join(30)
    assert got == [B]


def test_a_worker_for_urgent_keys_alone_leaves_the_others() -> None:
    queue = WorkQueue(Clock())
    queue.add(A)
    assert queue.get(timeout=0, urgent_only=True) is None
    queue.add(B, urgent=True)
    assert queue.get(timeout=0, urgent_only=True) == B
    assert queue.get(timeout=0, urgent_only=True) is None


def test_an_urgent_key_wakes_a_worker_for_urgent_keys_alone() -> None:
    queue = WorkQueue(time.monotonic)
    got: list[Key | None] = []
    worker = Thread(target=lambda: got.append(queue.get(timeout=30, urgent_only=True)))
    worker.start()
    queue.add(A, urgent=True)
    worker.join(30)
    assert got == [A]


def given(queue: WorkQueue) -> Key | None:
    """Take a key and be done with it at once."""
    key = queue.get(timeout=0)
    if key is not None:
        queue.done(key)
    return key
