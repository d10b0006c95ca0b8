"""Several workers under one parent: started, started anew when they die, stopped together.

Each worker is a process of its own, as if a person had started it: they share the queue and nothing else, so this is
the same as so many replicas, on one machine. The parent trains nothing and holds no connection.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_LONGEST_WAIT = 30.0
# A worker that ran for so long was well: the next death starts the waits from the beginning.
_HEALTHY_SECONDS = 60.0
# Beyond the grace a worker takes this long at most to hand its job back.
_GOODBYE_SECONDS = 4.0


@dataclass
class _Slot:
    """The place of one worker, and whoever has it now."""

    number: int
    env: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    start_at: float = 0.0

    def look_after(self, now: float) -> None:
        """Notice a death, and start a worker when the wait is over."""
        if self.process is not None:
            code = self.process.poll()
            if code is not None:
                self._mourn(code, now)
        elif now >= self.start_at:
            self.process = subprocess.Popen([sys.executable, "-m", "trainer"], env=self.env)
            self.started = now

    def _mourn(self, code: int, now: float) -> None:
        self.process = None
        self.deaths = 1 if now - self.started > _HEALTHY_SECONDS else self.deaths + 1
        wait = min(2.0 ** (self.deaths - 1), _LONGEST_WAIT)
        self.start_at = now + wait
        _log.warning("worker %d ended with %s; starting it again in %.0f s", self.number, _ending(code), wait)


@dataclass
class Workers:
    """Keeps ``count`` workers running until SIGTERM or SIGINT.

    Args:
        count: how many.
        metrics_port: of the first; the others have the next ones. 0 for none.
        grace: seconds that a training may go on after SIGTERM.
        clock: gives seconds that only grow.

    """

    count: int
    metrics_port: int
    grace: float
    clock: Callable[[], float] = time.monotonic
    _stopping: bool = field(default=False, init=False)

    def run(self, *, parent: int | None = None) -> None:
        """Run until a signal, or until the process is no longer a child of ``parent``, where one is given."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        slots = [_Slot(number + 1, self._environment(number)) for number in range(self.count)]
        while not self._stopping and (parent is None or os.getppid() == parent):
            for slot in slots:
                slot.look_after(self.clock())
            time.sleep(_LOOK_SECONDS)
        self._stop([slot.process for slot in slots if slot.process is not None])
        _log.info("stopped")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _environment(self, number: int) -> dict[str, str]:
        own = {"TELLTALE_TRAINER_WORKERS": "1", "TELLTALE_STOP_WITH_PARENT": "true"}
        if self.metrics_port:
            own["TELLTALE_TRAINER_METRICS_PORT"] = str(self.metrics_port + number)
        return os.environ | own

    def _stop(self, processes: list[subprocess.Popen[bytes]]) -> None:
        """Pass the signal on, and wait; who is still there long after the grace is killed."""
        _log.info("stopping %d workers; a training may go on for %g s", len(processes), self.grace)
        for process in processes:
            process.terminate()
        deadline = self.clock() + self.grace + _GOODBYE_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, deadline - self.clock()))
            except subprocess.TimeoutExpired:
                _log.warning("a worker did not stop and is killed; another takes its job over")
                process.kill()
                process.wait()


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
