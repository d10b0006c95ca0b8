"""The controller as a process of its own, as a pod would run it: it can be killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any


class ControllerProcess:
    """One replica."""

    def __init__(self, folder: Path, identity: str, **settings: str) -> None:
        self.identity, self.log = identity, folder / f"{identity}.log"
        self._settings = {
            "TELLTALE_REQUIRE_ROUTE_ACCEPTANCE": "false",
            "TELLTALE_MLFLOW_POLL_SECONDS": "0.5",
            "TELLTALE_HEALTH_PORT": "0",
            "POD_NAME": identity,
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it serves its health."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "registry"], stdout=log, stderr=log, env=os.environ | self._settings
            )
        size = self.log.stat().st_size
        deadline = time.monotonic() + 60
        while "health and metrics at" not in self.log.read_text()[size:]:
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def ask_to_stop(self) -> None:
        """Send it SIGTERM, and do not wait."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self.ask_to_stop()
        process, self._process = self._process, None
        assert process is not None
        return process.wait(30)

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def ask(self, path: str) -> str:
        """Return what one of its HTTP routes answers."""
        said = [line["message"] for line in self.lines() if "health and metrics at" in line["message"]]
        with urllib.request.urlopen(said[-1].rpartition(" ")[2] + path, timeout=5) as answer:  # noqa: S310 - http
            return str(answer.read().decode())
