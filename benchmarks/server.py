"""A `telltale serve` of our own, on a free port, with its data in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

_START_SECONDS = 90.0


@dataclass
class Server:
    """One server that can be started, stopped and killed again and again on the same data folder.

    Args:
        data: its data folder.
        port: its HTTP port.
        options: further options of `telltale serve`.
        environment: variables beside ours.

    """

    data: Path
    port: int
    options: tuple[str, ...] = ("--no-sample-fleet",)
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> Path:
        """The file with what it says to the person who started it."""
        return self.data / "serve.out"

    def start(self, *, wait: bool = True) -> None:
        """Start it in a process group of its own; with ``wait``, return when it is ready."""
        command = [sys.executable, "-m", "standalone.cli", "serve", "--data", str(self.data), "--port", str(self.port)]
        # The one after a free port may be taken.
        command += ["--grpc-port", "0"]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "--logs", "files", *self.options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | dict(self.environment),
                start_new_session=True,
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when readiness answers 200; RuntimeError with its last words if it ends or takes too long."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.process is not None and self.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health/ready", timeout=5).status_code == httpx.codes.OK:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"the server did not become ready:\n{self.output.read_text()[-2000:]}")

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to its whole process group, as a terminal does."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, within: float = 20.0) -> int:
        """Stop it in order and return its exit code; subprocess.TimeoutExpired if it takes too long."""
        self.signal_group(number)
        return self.wait(within)

    def wait(self, within: float) -> int:
        """Wait for its end and return its exit code."""
        process, self.process = self.process, None
        if process is None:
            return 0
        return process.wait(within)

    def kill(self) -> None:
        """Kill everything at once: the process group and the database server, which is outside of it."""
        database = self.postgres_pid()
        self.signal_group(signal.SIGKILL)
        if database is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(database, signal.SIGKILL)
        self.wait(10)

    def postgres_pid(self) -> int | None:
        """Return the process id of its PostgreSQL, or None where there is none yet."""
        note = self.data / "postgres.folder"
        folder = Path(note.read_text().strip()) if note.exists() else self.data / "postgres"
        try:
            return int((folder / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None


@contextmanager
def temporary_server(*options: str) -> Iterator[Server]:
    """Yield a server that is not started yet; it is stopped and its data removed at the end."""
    data = Path(tempfile.mkdtemp(prefix="telltale-run-"))
    data.chmod(0o711)
    server = Server(data, free_port(), ("--no-sample-fleet", *options))
    try:
        yield server
    finally:
        if server.process is not None:
            try:
                server.stop()
            except subprocess.TimeoutExpired:
                server.kill()
        shutil.rmtree(data, ignore_errors=True)


def free_port() -> int:
    """Return a TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
