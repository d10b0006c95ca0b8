from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# A server that takes a while to start its worker, and says by a file that both are there.
_SERVER = """
import pathlib, signal, subprocess, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(worker.pid))
if "short" in sys.argv:
    sys.exit(0)
time.sleep(600)
"""
_RUN = """
import os, sys
from standalone.server_process import run_until_signalled
from standalone.errors import StandaloneError
try:
    run_until_signalled("The server", [sys.executable, "-c", sys.argv[1], *sys.argv[2:]], os.environ, grace_seconds=1)
except StandaloneError as error:
    sys.exit(str(error))
"""


def start(folder: Path, *manners: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server, and return its keeper's process with its worker's id."""
    note = folder / "worker.pid"
    keeper = subprocess.Popen([sys.executable, "-c", _RUN, _SERVER, str(note), *manners], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not note.exists() or not note.read_text():
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    return keeper, int(note.read_text())


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("manner", ["obedient", "stubborn"])
def test_a_signal_ends_all_of_its_processes(tmp_path: Path, manner: str) -> None:
    keeper, worker = start(tmp_path, manner)
    keeper.terminate()
    _, said = keeper.communicate(timeout=20)
    assert (keeper.returncode, said) == (0, b"")
    assert is_gone(worker)


def test_however_many_signals_come_it_ends(tmp_path: Path) -> None:
    keeper, worker = start(tmp_path, "stubborn")
    while keeper.poll() is None:
        os.kill(keeper.pid, signal.SIGTERM)
        time.sleep(0.0005)
    keeper.communicate()
    assert keeper.returncode == 0
    assert is_gone(worker)


def test_a_server_that_ends_by_itself_takes_its_processes_along_and_is_an_error(tmp_path: Path) -> None:
    keeper, worker = start(tmp_path, "short")
    _, said = keeper.communicate(timeout=20)
    assert keeper.returncode == 1
    assert b"The server ended with exit code 0" in said
    assert is_gone(worker)
