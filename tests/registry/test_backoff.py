from __future__ import annotations

import pytest

from registry.backoff import LONGEST_SECONDS, SHORTEST_SECONDS, Backoff
from registry.work_queue import Key

CARS, TRUCKS = Key("fleet", "cars"), Key("fleet", "trucks")


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_waits_double_up_to_the_longest_and_begin_anew_once_it_worked() -> None:
    clock = Clock()
    backoff = Backoff(clock, lambda: 0.5)
    waits = []
    for _ in range(10):
        waits.append(backoff.failed(CARS))
        clock.seconds += waits[-1]
    assert waits == [0.5, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert backoff.failed(TRUCKS) == SHORTEST_SECONDS, "another is not left alone for it"
    backoff.worked(CARS)
    assert backoff.failed(CARS) == SHORTEST_SECONDS


def test_a_look_for_each_of_many_events_makes_no_wait_longer() -> None:
    backoff = Backoff(Clock(), lambda: 0.5)
    assert {backoff.failed(CARS) for _ in range(100)} == {SHORTEST_SECONDS}


def test_a_failure_of_long_ago_makes_no_wait_longer() -> None:
    clock = Clock()
    backoff = Backoff(clock, lambda: 0.5)
    backoff.failed(CARS)
    clock.seconds += 3600  # another replica leads meanwhile
    assert backoff.failed(CARS) == SHORTEST_SECONDS


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.8), (1.0, 1.2)])
def test_many_that_failed_together_come_back_one_by_one(chance: float, share: float) -> None:
    clock = Clock()
    backoff = Backoff(clock, lambda: chance)
    backoff.failed(CARS)
    clock.seconds += 3 * LONGEST_SECONDS
    assert backoff.failed(CARS) == pytest.approx(LONGEST_SECONDS * share)
