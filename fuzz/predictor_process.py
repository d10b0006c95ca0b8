"""The server under test: `python -m predictor` as a process of its own, with a real PostgreSQL behind it.

Limits are low, so that what is beyond them fits into a request, and everything that can be on is on: the rate limit,
CORS, metrics, traces, the access log, the prediction log.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jwt

from benchmarks.server import free_port
from fuzz.log_tail import LogTail
from fuzz.subject import MODEL, VERSION, Subject
from standalone.child import start_child
from standalone.embedded_postgres import EmbeddedPostgres
from store.migrate import migrate

SECRET = "a secret of the fuzz runs, longer than 32 bytes"  # noqa: S105 - protects nothing
ALL_SCOPES = "telemetry:ingest telemetry:score models:read models:write"
MAX_BODY_BYTES = 256 * 1024
MAX_RECORDS = 2_000
# Tokens are the same in every run, so that a request that was kept can be sent again as it is.
_ISSUED, _EXPIRES = 1_700_000_000, 4_102_444_800
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LOG_SECONDS = 1.0
_LIFE_SECONDS = 2.0
_FOREIGN = ("TELLTALE_", "OTEL_", "DATABASE_URL")


class NotStarted(Exception):
    """The server ended while it started, or was not ready in time; says what it wrote last."""


def token(subject: str = "fuzz", scopes: str = ALL_SCOPES, *, secret: str = SECRET) -> str:
    """Return a token that is good until 2100, if ``secret`` is the server's."""
    return jwt.encode({"sub": subject, "scope": scopes, "iat": _ISSUED, "exp": _EXPIRES}, secret, "HS256")


def settings_of(
    subject: Subject,
    database_url: str,
    *,
    authenticates: bool = True,
    is_pinned: bool = True,
    collector_url: str | None = None,
) -> dict[str, str]:
    """Return the server's settings but for its ports.

    Args:
        subject: what it serves.
        database_url: its PostgreSQL.
        authenticates: whether it asks for tokens.
        is_pinned: whether one version is its default; else it follows what PostgreSQL says.
        collector_url: where it sends traces; None makes none.

    """
    pinned = {
        "TELLTALE_MODEL": MODEL,
        "TELLTALE_MODEL_VERSION": VERSION,
        "TELLTALE_ARTIFACT_DIGEST": subject.digest,
    }
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector_url or "", "TELLTALE_TRACE_SAMPLE_RATIO": "0.1"}
    return {
        **(pinned if is_pinned else {}),
        **(traced if collector_url else {}),
        **({"TELLTALE_AUTH_SECRET": SECRET} if authenticates else {}),
        "TELLTALE_HOST": "127.0.0.1",
        "TELLTALE_MODEL_STORE": subject.store.as_uri(),
        "TELLTALE_OBJECT_STORE": str(subject.store),
        "TELLTALE_RATE_LIMIT": "1000000",
        "TELLTALE_CORS_ORIGINS": "https://x.example",
        "TELLTALE_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
        "TELLTALE_MAX_RECORDS": str(MAX_RECORDS),
        "TELLTALE_INGEST_WAIT_SECONDS": "0",
        "TELLTALE_DRAIN_SECONDS": "0",
        "TELLTALE_HEADER_SECONDS": "5",
        "TELLTALE_PREDICTION_LOG": "true",
        "DATABASE_URL": database_url,
    }


@dataclass
class PredictorProcess:
    """One predictor that can be started again after it died.

    Args:
        settings: its environment variables, beside this process's own and its ports.
        output: what its log goes to: a file's path, or a file descriptor.
        command: what is started.

    """

    settings: dict[str, str]
    output: Path | int
    port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    command: tuple[str, ...] = (sys.executable, "-m", "predictor")
    _tail: LogTail | None = field(default=None, init=False, repr=False)

    @property
    def pid(self) -> int:
        """Its process id."""
        if self.process is None:
            raise NotStarted("the server was not started")
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until it is ready; NotStarted if that does not come."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        ports = {"TELLTALE_PORT": str(self.port), "TELLTALE_GRPC_PORT": str(self.grpc_port)}
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(self.output.open("ab")) if isinstance(self.output, Path) else self.output
            self.process = start_child(self.command, output=output, env=own | self.settings | ports, own_session=True)
        position, deadline = self.log_size(), time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.status_of("/health/ready") == 200:
                self._wait_for_log(position)
                return
            time.sleep(0.02)
        raise NotStarted(f"the server did not become ready (exit status {self.process.poll()}):\n{self.last_words()}")

    def _wait_for_log(self, position: int) -> None:
        """Wait until what was asked while it started is in the access log, or is not going to be."""
        deadline = time.monotonic() + _LOG_SECONDS
        while time.monotonic() < deadline and "GET /health/ready 200" not in self.said_since(position):
            time.sleep(0.02)

    def end_of_life(self) -> str | None:
        """Return how the process ended if it did, and None while it lives."""
        if self.process is None:
            return "it was not started"
        status = self.process.poll()
        if status is None:
            return None
        return f"it was ended by {signal.Signals(-status).name}" if status < 0 else f"it exited with {status}"

    def end_of_life_soon(self, within: float = 0.3) -> str | None:
        """Return how the process ended if it does within some seconds: a dying one closes its connections first."""
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(within)
        return self.end_of_life()

    @property
    def credentials(self) -> list[tuple[str, str]]:
        """The header that a request needs; none where nobody needs a token."""
        return [("Authorization", f"Bearer {token()}")] if "TELLTALE_AUTH_SECRET" in self.settings else []

    def lives(self) -> bool:
        """Tell whether it still answers anybody."""
        return self.status_of("/healthz", within=_LIFE_SECONDS) == 200

    def kill(self) -> None:
        """End it at once: it hangs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def log_faults(self) -> dict[str, str]:
        """Return what its log got since the last call that must not be there (see :class:`LogTail`)."""
        if not isinstance(self.output, Path):
            return {}
        self._tail = self._tail or LogTail(self.output)
        return self._tail.faults()

    def revive(self) -> None:
        """Start it anew after it died."""
        self.deaths += 1
        self.start()

    def stop(self) -> int:
        """Stop it in order and return its exit status; one that hangs is killed and returns that of SIGKILL."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    def status_of(self, path: str, *, within: float = 10.0) -> int:
        """Return the status of a GET, or 0 if there was no answer within some seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=within)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token()}"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def last_words(self, size: int = 3000) -> str:
        """Return the end of its log, where that is a file."""
        return self.said_since(max(0, self.log_size() - size))

    def log_size(self) -> int:
        """Return the size of its log in bytes; 0 where that is no file."""
        return self.output.stat().st_size if isinstance(self.output, Path) and self.output.exists() else 0

    def said_since(self, position: int) -> str:
        """Return what its log got since it had ``position`` bytes, where it is a file."""
        if not isinstance(self.output, Path) or not self.output.exists():
            return ""
        with self.output.open("rb") as log:
            log.seek(position)
            return log.read().decode(errors="replace")


@contextmanager
def passable_folder(prefix: str) -> Iterator[Path]:
    """Yield a temporary folder through which the user that PostgreSQL runs as can pass."""
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL of our own with the newest schema; yields its URL."""
    server = EmbeddedPostgres(folder, folder / "postgres.log")
    server.start()
    try:
        migrate(server.url)
        yield server.url
    finally:
        server.stop()
