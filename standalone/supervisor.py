"""Running the parts as processes: started in order, started anew when they die, stopped together.

The parts share our process group, so a SIGTERM to the group reaches them directly; at Ctrl-C they get one from us.
PostgreSQL is outside of it and stops last. Whoever is still there after the grace is killed.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from standalone.child import start_child

_log = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
_LONGEST_WAIT = 30.0
# A part that ran for so long was healthy: the next death starts the waits from the beginning.
_HEALTHY_SECONDS = 60.0
_LARGEST_LOG = 32 * 1024 * 1024
# Looks between two looks at the logs: a minute.
_LOG_LOOKS = 300
_LOOK_SECONDS = 0.2


@dataclass
class Part:
    """One process that is to run.

    Args:
        name: for messages and its log file.
        module: the Python module that is its main program.
        arguments: for it.
        env: its environment.
        pass_fds: file descriptors that it inherits.
        log: where its output goes; None for ours.

    """

    name: str
    module: str
    env: dict[str, str]
    arguments: tuple[str, ...] = ()
    pass_fds: tuple[int, ...] = ()
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0
    _deaths: int = 0
    _start_at: float = 0.0

    def start(self) -> None:
        """Start the process."""
        command = [sys.executable, "-m", self.module, *self.arguments]
        self._started = time.monotonic()
        if self.log is None:
            self.process = start_child(command, output=None, env=self.env, pass_fds=self.pass_fds)
            return
        with self.log.open("ab") as output:
            self.process = start_child(command, output=output, env=self.env, pass_fds=self.pass_fds)

    def look_after(self, report: Callable[[str], None]) -> None:
        """Notice a death, and start the process anew when its wait is over."""
        now = time.monotonic()
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            self.process = None
            self._deaths = 1 if now - self._started > _HEALTHY_SECONDS else self._deaths + 1
            wait = min(2.0 ** (self._deaths - 1), _LONGEST_WAIT)
            self._start_at = now + wait
            where = "" if self.log is None else f"; see {self.log}"
            report(f"{self.name} ended with {_ending(code)}; starting it again in {wait:.0f} s{where}")
        elif now >= self._start_at:
            self.start()


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


@dataclass
class Supervisor:
    """Keeps parts running until a signal asks to stop."""

    report: Callable[[str], None]
    parts: list[Part] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def handle_signals(self) -> None:
        """Let SIGINT and SIGTERM ask to stop; a second one changes nothing, stopping is under way."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask_to_stop)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self.stopping.is_set():
            self.stopping.set()

    def start(self, part: Part) -> None:
        """Start a part and keep it running from now on."""
        part.start()
        self.parts.append(part)

    def run(self, look_after: Iterable[Callable[[], None]] = ()) -> None:
        """Keep everything running until asked to stop; ``look_after`` is called at every look too."""
        looks = 0
        while not self.stopping.is_set():
            # Not the event's wait: a signal that meets its lock held by this very thread would wait for it for good.
            time.sleep(_LOOK_SECONDS)
            looks += 1
            if looks % _LOG_LOOKS == 0:
                for part in self.parts:
                    trim_log(part.log)
            for look in look_after:
                look()
            for part in self.parts:
                part.look_after(self.report)

    def stop(self) -> None:
        """Stop all parts together; kill those that are still there after the grace."""
        alive = [part for part in self.parts if part.process is not None and part.process.poll() is None]
        for part in alive:
            if part.process is not None:
                part.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for part in alive:
            if part.process is not None:
                _end(part.name, part.process, deadline, self.report)


def _end(name: str, process: subprocess.Popen[bytes], deadline: float, report: Callable[[str], None]) -> None:
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        report(f"{name} did not stop within {GRACE_SECONDS:.0f} s and is killed")
        process.kill()
        process.wait()


def trim_log(path: Path | None) -> None:
    """Put what a log holds aside as ``.1`` when it has grown large; whoever appends to it goes on at its start."""
    if path is not None and path.exists() and path.stat().st_size > _LARGEST_LOG:
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)
