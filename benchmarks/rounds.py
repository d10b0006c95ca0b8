"""Measuring several things against each other: in turn, round by round, and compared within each round.

The machine's mood changes over seconds. Two figures of one round share it, so the median of the rounds' ratios says
more than the ratio of two medians. The order turns around after each round, so that no one is always first.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def alternate(
    contenders: Mapping[str, Callable[[], T]], rounds: int, say: Callable[[str], None], tell: Callable[[T], str] = str
) -> dict[str, list[T]]:
    """Call every contender once a round.

    Args:
        contenders: name to what measures it once.
        rounds: how many, at least 1.
        say: is given a line for people after each round.
        tell: a result, for that line.

    Returns:
        Each contender's results, in the rounds' order.

    """
    results: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(contenders)[::-1]
        for name in order:
            results[name].append(contenders[name]())
        line = ", ".join(f"{name} {tell(results[name][-1])}" for name in contenders)
        say(f"round {number + 1} of {rounds}: {line}")
    return results


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Return the median of the rounds' ratios; ValueError if the rounds differ in number."""
    return statistics.median(n / d for n, d in zip(numerators, denominators, strict=True))
