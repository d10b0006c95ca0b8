"""Servers under measurement: each one starts on its core, says when it answers, and goes with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.configurations import environment
from benchmarks.cores import Cores, on_core
from benchmarks.server import free_port
from benchmarks.subject import Subject, score_answer

_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
_LAST_WORDS = 1500
_SETTINGS = ("TELLTALE_", "OTEL_", "DATABASE_URL")
_ROOT = Path(__file__).resolve().parents[1]


class NotStarted(Exception):
    """A server ended, or did not answer in time; says what it wrote last."""


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Args:
        pid: its first process; others are its children.
        port: of HTTP on 127.0.0.1.
        grpc_port: of gRPC there; 0 where there is none.
        started_at: `time.perf_counter()` right before it was started.

    """

    pid: int
    port: int
    grpc_port: int
    started_at: float


@contextmanager
def running(
    command: list[str], variables: dict[str, str], *, core: int, log: Path, port: int, grpc_port: int = 0
) -> Iterator[tuple[Running, subprocess.Popen[bytes]]]:
    """Start a server on a core, with ``variables`` beside this process's own; at the end its group is stopped."""
    # What this process itself is set to must not decide what is measured.
    own = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    with log.open("ab") as output, on_core(core):
        started_at = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=own | variables,
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Running(process.pid, port, grpc_port, started_at), process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
            break
    # A server may be gone before its children are.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def wait_until_answers(
    process: subprocess.Popen[bytes], port: int, request: bytes, log: Path, *, within: float = _START_SECONDS
) -> float:
    """Send ``request`` again and again until it is answered by 200; return `time.perf_counter()` of that moment.

    Raises:
        NotStarted: the server ended, or ``within`` seconds were not enough.

    """
    deadline = time.perf_counter() + within
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise NotStarted(f"ended with {process.returncode}: {_last_words(log)}")
        if _answers(port, request):
            return time.perf_counter()
        time.sleep(0.002)
    raise NotStarted(f"no answer of 200 within {within:g} s: {_last_words(log)}")


def _answers(port: int, request: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request)
            return connection.recv(4096).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-_LAST_WORDS:].strip()


@contextmanager
def predictor(
    subject: Subject, settings: dict[str, str], *, cores: Cores, log: Path, first: bytes, traces_url: str = ""
) -> Iterator[Running]:
    """Run Telltale's predictor; it is yielded when ``first`` was answered by 200."""
    with unready_predictor(subject, settings, cores=cores, log=log, traces_url=traces_url) as (server, process):
        wait_until_answers(process, server.port, first, log)
        wait_until_answers(process, server.port, get_request("/health/ready"), log)
        yield server


@contextmanager
def unready_predictor(
    subject: Subject, settings: dict[str, str], *, cores: Cores, log: Path, traces_url: str = ""
) -> Iterator[tuple[Running, subprocess.Popen[bytes]]]:
    """Run Telltale's predictor; it is yielded at once."""
    port, grpc_port = free_port(), free_port()
    variables = environment(subject, settings, port=port, grpc_port=grpc_port, traces_url=traces_url)
    command = [sys.executable, "-m", "predictor"]
    with running(command, variables, core=cores.server, log=log, port=port, grpc_port=grpc_port) as started:
        yield started


@contextmanager
def bare(subject: Subject, *, cores: Cores, log: Path, first: bytes) -> Iterator[Running]:
    """Run the floor, :mod:`benchmarks.bare`."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare", str(port), score_answer(subject).decode()]
    with running(command, {}, core=cores.server, log=log, port=port) as (server, process):
        wait_until_answers(process, port, first, log)
        yield server


def get_request(path: str) -> bytes:
    """Return a whole `GET` request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
