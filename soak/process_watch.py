"""What the server's process holds: resident memory over the run, and its file descriptors and threads before and after.

Linux alone: all of it stands in /proc (proc(5)).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from soak.errors import ServerGone

_SETTLING_SECONDS = 15.0


@dataclass(frozen=True)
class Sample:
    """Resident memory, in bytes, after so many requests; ``anonymous`` is what the process itself has allocated."""

    requests: int
    rss: int
    anonymous: int


@dataclass(frozen=True)
class Held:
    """How many file descriptors and threads a process has."""

    descriptors: int
    threads: int


@dataclass
class ProcessWatch:
    """Watches one process.

    Args:
        pid: its id.
        samples: what :meth:`sample` saw.

    """

    pid: int
    samples: list[Sample] = field(default_factory=list)

    def sample(self, requests: int) -> None:
        """Take a sample; ServerGone if there is no such process any more."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
            fields = dict(line.split(":", 1) for line in status.splitlines())
            self.samples.append(Sample(requests, _bytes(fields["VmRSS"]), _bytes(fields["RssAnon"])))
        except (FileNotFoundError, KeyError) as lack:  # one that has ended and was not waited for has no memory
            raise ServerGone("the server's process has ended") from lack

    def held(self) -> Held:
        """Count file descriptors and threads now; none of a process that has ended."""
        if not Path(f"/proc/{self.pid}/exe").exists():
            return Held(0, 0)
        descriptors, threads = (sum(1 for _ in Path(f"/proc/{self.pid}/{kind}").iterdir()) for kind in ("fd", "task"))
        return Held(descriptors, threads)

    def held_when(self, is_settled: Callable[[Held], bool]) -> Held:
        """Return what is held as soon as that is as it should be, or after some seconds whatever it is."""
        deadline = time.monotonic() + _SETTLING_SECONDS
        while not is_settled(held := self.held()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return held


def _bytes(text: str) -> int:
    number, _unit = text.split()
    return int(number) * 1024
