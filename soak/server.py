"""The server under load: `python -m predictor` with everything on, its log in a pipe that somebody reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.server import free_port
from soak.errors import NotStarted
from soak.http_kinds import BURST, LIMIT_PER_SECOND, MAX_BODY_BYTES, MAX_RECORDS
from soak.log_check import LogCheck, LogReader
from soak.subject import LOADED_BYTES, MODEL, VERSION, Subject
from soak.tokens import SECRET
from standalone.child import start_child

PREDICTOR = (sys.executable, "-m", "predictor")
_START_SECONDS, _STOP_SECONDS = 60.0, 30.0
_FOREIGN = ("TELLTALE_", "OTEL_", "DATABASE_URL")


@dataclass
class Server:
    """A predictor that runs.

    Args:
        process: its process.
        port: of HTTP on 127.0.0.1.
        grpc_port: of gRPC there.
        log: what its log said.
        exit_status: how it ended; None before that.
        asked: the statuses of what this object asked itself, which the log has too.

    """

    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    log: LogCheck
    exit_status: int | None = None
    asked: Counter[int] = field(default_factory=Counter)

    def is_ready(self) -> bool:
        """Tell whether it is ready to serve."""
        return self._get("/health/ready")[0] == 200

    def scrape(self) -> dict[tuple[str, ...], float]:
        """Return its metrics now: by name and the values of the labels."""
        families = text_string_to_metric_families(self._get("/metrics")[1].decode())
        return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}

    def _get(self, path: str) -> tuple[int, bytes]:
        """Return status and body; 0 if there was no answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            status, body = refusal.code, b""
        except OSError:
            return 0, b""
        self.asked[status] += 1
        return status, body


def settings_of(subject: Subject, database_url: str, traces_url: str) -> dict[str, str]:
    """Return the server's settings but for its ports. Waits for clients are short, so that slow ones take seconds."""
    return {
        "TELLTALE_HOST": "127.0.0.1",
        "TELLTALE_MODEL_STORE": subject.store.as_uri(),
        "TELLTALE_OBJECT_STORE": str(subject.store),
        "TELLTALE_MODEL": MODEL,
        "TELLTALE_MODEL_VERSION": VERSION,
        "TELLTALE_ARTIFACT_DIGEST": subject.digest,
        "TELLTALE_LOADED_MODELS_BYTES": str(LOADED_BYTES),
        "DATABASE_URL": database_url,
        # A pool of more grows and shrinks by what happens to come together, and with it what is open.
        "TELLTALE_DATABASE_CONNECTIONS": "1",
        "TELLTALE_AUTH_SECRET": SECRET,
        "TELLTALE_RATE_LIMIT": str(LIMIT_PER_SECOND),
        "TELLTALE_RATE_LIMIT_BURST": str(BURST),
        "TELLTALE_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
        "TELLTALE_MAX_RECORDS": str(MAX_RECORDS),
        "TELLTALE_HEADER_SECONDS": "2",
        "TELLTALE_BODY_IDLE_SECONDS": "2",
        "TELLTALE_DRAIN_SECONDS": "2",
        "TELLTALE_ACCESS_LOG": "all",
        "TELLTALE_PREDICTION_LOG": "true",
        "TELLTALE_TRACE_SAMPLE_RATIO": "0.01",
        "OTEL_EXPORTER_OTLP_ENDPOINT": traces_url,
    }


@contextmanager
def running(settings: dict[str, str], *, command: Sequence[str] = PREDICTOR) -> Iterator[Server]:
    """Run a predictor; it is yielded when it is ready, and is stopped in order when the block ends."""
    port, grpc_port = free_port(), free_port()
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    ports = {"TELLTALE_PORT": str(port), "TELLTALE_GRPC_PORT": str(grpc_port)}
    reading, writing = os.pipe()
    process = start_child(command, output=writing, env=own | settings | ports, own_session=True)
    os.close(writing)
    check = LogCheck()
    reader = LogReader(reading, check)
    server = Server(process, port, grpc_port, check)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        server.exit_status = _stop(process)
        reader.finish(_STOP_SECONDS)


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        if server.is_ready():
            return
        time.sleep(0.02)
    said = "\n".join(server.log.examples)
    raise NotStarted(f"the server did not become ready (exit status {server.process.poll()})\n{said}")


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Stop it in order and return its exit status; one that hangs is killed, and returns that of SIGKILL."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
