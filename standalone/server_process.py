"""Running a server that has processes of its own, as a foreground command or as a container's first process.

Whatever its processes do with signals, none of them is left behind: they share a session of their own, which is asked
to end, and ended when it does not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from standalone.child import start_child
from standalone.errors import StandaloneError

_LOOK_SECONDS = 0.1


def run_until_signalled(
    name: str, command: Sequence[str], env: Mapping[str, str], *, grace_seconds: float = 10.0
) -> None:
    """Run a server until it ends, or until we get SIGINT or SIGTERM.

    Args:
        name: what it is called towards people.
        command: program and arguments.
        env: its whole environment.
        grace_seconds: how long it has to end after a signal, before it is killed.

    Raises:
        StandaloneError: it ended although nobody asked it to.

    """
    asked: list[int] = []  # an Event would be locked for good by a signal that meets its wait() in the wrong moment
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: asked.append(number))
    process = start_child(command, output=None, env=env, own_session=True)
    try:
        while process.poll() is None and not asked:
            time.sleep(_LOOK_SECONDS)
    finally:
        _end_session(process, grace_seconds)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the interpreter takes handlers away before it ends, but not this
    if not asked:
        raise StandaloneError(f"{name} ended with exit code {process.returncode}; its words are above")


def _end_session(leader: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End all processes of the session that ``leader`` leads; returns when none is left."""
    deadline = time.monotonic() + grace_seconds
    number = signal.SIGTERM
    with suppress(ProcessLookupError):  # which says that none is left
        os.killpg(leader.pid, number)
        while True:
            leader.poll()
            with suppress(ChildProcessError):  # as a container's first process we inherit those whose parent ended
                os.waitpid(-leader.pid, os.WNOHANG)
            if number == signal.SIGTERM and time.monotonic() > deadline:
                number = signal.SIGKILL
            os.killpg(leader.pid, number if number == signal.SIGKILL else 0)
            time.sleep(_LOOK_SECONDS / 5)
    leader.wait()
