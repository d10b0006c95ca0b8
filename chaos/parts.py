"""One component as a process that is killed and started again, as a node that dies and a scheduler would do it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from standalone.child import start_child

_STOP_SECONDS = 20.0


class NotStarted(RuntimeError):
    """A part did not become ready; the message ends with its last words."""


@dataclass
class Part:
    """A component's process.

    Args:
        name: for people.
        module: what `python -m` runs, with its arguments.
        environment: its whole environment.
        log: the file that takes what it says.
        ready: tells whether it does its work now.

    """

    name: str
    module: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    ready: Callable[[], bool]
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self, *, within: float = 90.0) -> None:
        """Start it; returns when it is ready.

        Raises:
            NotStarted: it ended, or took longer than ``within`` seconds.

        """
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", *self.module]
            self._process = start_child(command, output=log, env=dict(self.environment), own_session=True)
        deadline = time.monotonic() + within
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End all of it at once, as the kernel does when memory is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _signal_group(process, number)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
