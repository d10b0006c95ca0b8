"""One measurement: a load on a server, with what the server's own core had to do for it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cores import Cores, measured_cpu
from benchmarks.load import Load, Target, run_load
from benchmarks.processes import Running
from benchmarks.rounds import median_ratio
from benchmarks.subject import Subject


@dataclass(frozen=True)
class Plan:
    """What every part of the benchmarks is given.

    Args:
        subject: what is served.
        cores: where.
        folder: for logs and temporary files.
        rounds: how often everything is measured in turn.
        seconds: one load's length.
        say: takes a line for people.

    """

    subject: Subject
    cores: Cores
    folder: Path
    rounds: int
    seconds: float
    say: Callable[[str], None]


@dataclass(frozen=True)
class Sample:
    """A load's result, and the share of that time that the server was on its core."""

    load: Load
    busy: float

    @property
    def rps(self) -> float:
        """Good answers in a second."""
        return self.load.rps

    @property
    def rps_of_cpu(self) -> float:
        """Good answers in a second of the server's processor time."""
        return self.load.rps / self.busy

    def __str__(self) -> str:
        return f"{self.rps:,.0f}/s"


def sampler(
    plan: Plan, server: Running, target: Target, connections: int, *, seconds: float | None = None, streams: int = 1
) -> Callable[[], Sample]:
    """Return what measures ``target`` on ``server`` once whenever it is called."""

    def measure() -> Sample:
        with measured_cpu(server.pid) as busy:
            load = run_load(
                target,
                connections=connections,
                streams=streams,
                seconds=plan.seconds if seconds is None else seconds,
                core=plan.cores.load,
            )
        return Sample(load, busy.share)

    return measure


def warm_up(plan: Plan, *targets: Target, connections: int = 16) -> None:
    """Ask each target for a second, so that caches are filled and lazy parts loaded."""
    for target in targets:
        run_load(target, connections=connections, seconds=min(1.0, plan.seconds), core=plan.cores.load)


def raw_figures(name: str, samples: Sequence[Sample], suffix: str) -> dict[str, float]:
    """Return the medians over the rounds as ``{name}_rps_{suffix}`` and the like."""
    return {
        f"{name}_rps_{suffix}": statistics.median(sample.rps for sample in samples),
        f"{name}_p50_us_{suffix}": statistics.median(sample.load.p50_us for sample in samples),
        f"{name}_p99_us_{suffix}": statistics.median(sample.load.p99_us for sample in samples),
        f"{name}_busy_{suffix}": statistics.median(sample.busy for sample in samples),
    }


def rps_ratio(ours: Sequence[Sample], theirs: Sequence[Sample]) -> float:
    """Return the median over the rounds of our requests/s to theirs."""
    return median_ratio([sample.rps for sample in ours], [sample.rps for sample in theirs])
