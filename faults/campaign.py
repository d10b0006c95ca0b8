"""Schedules by the thousand, in a process for each processor."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from faults import storm, twin

_CHUNK = 20


@dataclass
class Outcome:
    """What schedules came to.

    Args:
        schedules: how many were played.
        broken: what was wrong, by schedule.
        faults: how many there were of each kind, where they are counted.

    """

    schedules: int = 0
    broken: dict[str, list[str]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, schedule: str, wrong: list[str]) -> None:
        """Count a schedule."""
        self.schedules += 1
        if wrong:
            self.broken[schedule] = wrong


def simulate(seeds: Iterable[int], report: Callable[[], None], processes: int | None = None) -> Outcome:
    """Play the simulated schedules of some seeds."""
    outcome = Outcome()
    with ProcessPoolExecutor(processes or os.cpu_count(), initializer=_quiet) as executor:
        for seed, wrong in executor.map(_one, seeds, chunksize=_CHUNK):
            outcome.add(f"--replay {seed}", wrong)
            report()
    return outcome


def play(seed: int) -> list[str]:
    """Play one simulated schedule: of two seeds one is a scenario in bad weather, the other a storm."""
    return storm.play(seed) if seed % 2 else twin.play(seed)


def _one(seed: int) -> tuple[int, list[str]]:
    try:
        return seed, play(seed)
    except Exception as error:
        logging.getLogger(__name__).exception("schedule %d", seed)
        return seed, [f"{type(error).__name__}: {error}"]


def _quiet() -> None:
    """What controllers log of faults is no news here."""
    logging.getLogger("registry").addHandler(logging.NullHandler())
    logging.getLogger("registry").propagate = False
