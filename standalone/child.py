"""Starting child processes that do not outlive us."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


def start_child(
    command: Sequence[str | Path],
    *,
    output: IO[bytes] | int | None,
    env: Mapping[str, str] | None = None,
    on_parent_death: signal.Signals = signal.SIGTERM,
    own_session: bool = False,
    user: int | None = None,
    group: int | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process that gets ``on_parent_death`` when this one dies, however it dies (on Linux).

    It begins with SIGINT ignored: Ctrl-C is for us, and we pass on a SIGTERM. A program that is still importing would
    otherwise answer it with a traceback.

    Args:
        command: program and arguments.
        output: where its standard output and error go; None for ours.
        env: its whole environment; None for ours.
        on_parent_death: the signal that the kernel sends it when we are gone.
        own_session: keep it out of our process group, so that Ctrl-C in the terminal does not reach it.
        user: numeric user to run as; None for ours. Needs root, as does ``group``.
        group: numeric group to run as.
        pass_fds: file descriptors that it inherits.

    """
    return subprocess.Popen(  # noqa: S603 - our own programs with our own arguments
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        env=env,
        start_new_session=own_session,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
        pass_fds=pass_fds,
        preexec_fn=_before_exec(on_parent_death),  # noqa: PLW1509 - it calls two C functions and takes no lock
    )


def _before_exec(on_parent_death: signal.Signals) -> Callable[[], None]:
    """Return what the child runs before it becomes the program."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, int(on_parent_death), 0, 0, 0)

    return prepare
