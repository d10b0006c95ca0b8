"""Which core does what, and what a process costs: the server has one core for itself and the load the other."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Cores:
    """The server's core and the load's; the same one where the machine has no second."""

    server: int
    load: int


def choose_cores() -> Cores:
    """Return the first and the last core that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[-1])


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Keep the calling thread on ``core`` for a while, and with it whatever processes it starts there for good."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Busy:
    """How long a server's processes were on their core: ``seconds`` of processor time in ``wall`` seconds."""

    seconds: float = 0.0
    wall: float = 0.0

    @property
    def share(self) -> float:
        """The share of the time, about 1 where the server is the bottleneck."""
        return self.seconds / self.wall


@contextmanager
def measured_cpu(pid: int) -> Iterator[Busy]:
    """Yield what is filled at the end with the processor time of process ``pid`` and its descendants."""
    busy = Busy()
    started, before = time.perf_counter(), cpu_seconds(pid)
    yield busy
    busy.seconds = cpu_seconds(pid) - before
    busy.wall = time.perf_counter() - started


def cpu_seconds(pid: int) -> float:
    """Return the processor time, user and system, of a process and its living descendants, in seconds."""
    process = psutil.Process(pid)
    times = [member.cpu_times() for member in (process, *process.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def rss_mb(pid: int) -> float:
    """Return the resident memory of one process in MB (10^6 bytes), as ``VmRSS`` has it."""
    resident: int = psutil.Process(pid).memory_info().rss
    return resident / 1e6
