"""The trainer as its own process, as a supervisor starts it, and poisonous batches to give it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainer.settings import TrainerSettings

LONG = 10_000  # trees that a worker needs some seconds for

# Read by every Python process whose path it is on: what reading a batch does then depends on how many records it has.
FAULTY, DEADLY, HANGING = 13, 14, 15
_POISON = f"""
import ctypes, os, signal, sys
if sys.argv[0] == "-m":
    from trainer.window import WindowReader
    read = WindowReader.read
    def poisoned(self, row):
        if row.record_count == {FAULTY}:
            raise ValueError("the rows are cursed")
        if row.record_count == {DEADLY}:
            os.kill(os.getpid(), signal.SIGKILL)
        if row.record_count == {HANGING}:
            ctypes.PyDLL(None).sleep(600)  # without giving up the interpreter's lock
        return read(self, row)
    WindowReader.read = poisoned
"""


def poison(folder: Path) -> dict[str, str]:
    """Return the environment in which some batches do harm."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_POISON)
    return {"PYTHONPATH": str(folder)}


class Process:
    """`python -m trainer` with its output in a file."""

    def __init__(
        self,
        settings: TrainerSettings,
        log: Path,
        *,
        arguments: Sequence[str] = (),
        program: str = "",
        env: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        self._log = log
        command = ["-c", program] if program else ["-m", "trainer", *arguments]
        # At the usual priority: what else runs on the machine should not decide how long a test takes.
        values = settings.model_dump(mode="json") | {"niceness": 0} | more
        own = {variable(name): str(value) for name, value in values.items()}
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, *command], env=os.environ | own | (env or {}), stdout=output, stderr=output
            )

    def output(self) -> str:
        return self._log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """What it logged, each line as JSON: anything else in its output is a fault."""
        return [json.loads(line) for line in self.output().splitlines()]

    def said(self, words: str) -> bool:
        return any(words in line["message"] for line in self.lines())

    def wait_ready(self, times: int = 1) -> None:
        wait_until(lambda: self.output().count('"trainer ready"') >= times, 60, self)

    def stop(self) -> float:
        """Send SIGTERM and SIGINT; return how long it took to end."""
        start = time.monotonic()
        self.popen.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        self.popen.send_signal(signal.SIGINT)
        assert self.popen.wait(60) == 0, self.output()
        return time.monotonic() - start


def variable(setting: str) -> str:
    """Return the name of the environment variable of a setting."""
    return str(TrainerSettings.model_fields[setting].validation_alias or f"TELLTALE_{setting}".upper())


def wait_until(holds: Callable[[], bool], seconds: float, process: Process | None = None) -> float:
    """Wait for a condition; return how long it took."""
    start = time.monotonic()
    while not holds():
        if process is not None:
            assert process.popen.poll() is None, process.output()
        assert time.monotonic() - start < seconds, process and process.output()
        time.sleep(0.05)
    return time.monotonic() - start
