from __future__ import annotations

import pytest

from benchmarks.rounds import alternate, median_ratio


def test_ratios_are_taken_within_a_round_before_the_median() -> None:
    # The machine was ten times slower in the last round; the ratio of medians would say 1.
    assert median_ratio([100, 210, 30], [100, 100, 10]) == 2.1


def test_ratios_of_rounds_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        median_ratio([1, 2], [1])


def test_every_contender_is_measured_once_a_round_and_the_order_turns_around() -> None:
    calls: list[str] = []

    def contender(name: str) -> int:
        calls.append(name)
        return len(calls)

    lines: list[str] = []
    results = alternate({"a": lambda: contender("a"), "b": lambda: contender("b")}, 3, lines.append)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert results == {"a": [1, 4, 5], "b": [2, 3, 6]}
    assert lines == ["round 1 of 3: a 1, b 2", "round 2 of 3: a 4, b 3", "round 3 of 3: a 5, b 6"]
