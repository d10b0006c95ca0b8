from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from standalone.child import start_child
from standalone.supervisor import Part, Supervisor, trim_log
from tests.waiting import wait_for

# Stands for a part: says that it runs, and ends when told.
_PROGRAM = "import sys, time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Write a module `part` with the given program; returns the environment to run it in."""

    def write(program: str) -> dict[str, str]:
        (tmp_path / "part.py").write_text(program)
        return os.environ | {"PYTHONPATH": str(tmp_path)}

    return write


@pytest.fixture
def supervisor() -> Iterator[tuple[Supervisor, list[str]]]:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    yield supervisor, said
    supervisor.stop()


def test_a_part_that_dies_is_started_again_and_said_so(
    supervisor: tuple[Supervisor, list[str]], module: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    running, said = supervisor
    log = tmp_path / "part.log"
    running.start(Part("part", "part", module(_PROGRAM), log=log))
    first = running.parts[0].process
    assert first is not None
    wait_for(lambda: log.read_text() == "up\n", seconds=20)
    keeper = threading.Thread(target=running.run)
    keeper.start()
    first.kill()
    wait_for(lambda: log.read_text() == "up\nup\n", seconds=20)
    running.stopping.set()
    keeper.join()
    assert "part ended with SIGKILL; starting it again in 1 s" in said[0]


def test_a_part_that_does_not_stop_is_killed_after_the_grace(
    supervisor: tuple[Supervisor, list[str]],
    module: Callable[[str], dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, said = supervisor
    monkeypatch.setattr("standalone.supervisor.GRACE_SECONDS", 0.3)
    log = tmp_path / "part.log"
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_PROGRAM}"
    running.start(Part("part", "part", module(stubborn), log=log))
    wait_for(lambda: log.read_text() == "up\n", seconds=20)
    running.stop()
    process = running.parts[0].process
    assert process is not None
    assert process.returncode == -signal.SIGKILL
    assert "is killed" in said[0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_child_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        "import sys, time; from pathlib import Path; from standalone.child import start_child;"
        "child = start_child([sys.executable, '-c', 'import time; time.sleep(600)'], output=None);"
        f"Path({str(note)!r}).write_text(f'{{child.pid}}\\n'); time.sleep(600)"
    )
    parent = start_child([sys.executable, "-c", program], output=None, own_session=True)
    wait_for(lambda: note.exists() and note.read_text().endswith("\n"), seconds=20)
    child = int(note.read_text())
    parent.kill()
    parent.wait()
    wait_for(lambda: not _runs(child), seconds=20)


def test_a_log_that_has_grown_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("standalone.supervisor._LARGEST_LOG", 3)
    log = tmp_path / "part.log"
    log.write_text("1234")
    with log.open("a") as writer:
        trim_log(log)
        writer.write("5")
    assert log.read_text() == "5"
    assert (tmp_path / "part.log.1").read_text() == "1234"
    trim_log(log)
    assert log.read_text() == "5"


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
