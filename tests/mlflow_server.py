"""The real MLflow server as it is deployed, in processes of its own: it can be stopped, killed and started again.

It keeps its port, its database and its bucket, so a server that was killed is started again as the same server.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from standalone.child import start_child

PASSWORDS = {
    "admin": "Lamp-and-dashboard-7",
    "trainer": "Forest-of-200-trees",
    "registry": "Champion-by-alias-5",
}
_START_SECONDS = 90.0
_STOP_SECONDS = 20.0


class MlflowServer:
    """One server.

    Args:
        folder: for its log.
        database_url: a PostgreSQL database, which may be empty.
        artifacts: ``s3://bucket/prefix``.
        environment: what it gets besides, such as the credentials of S3 and settings of its own.

    """

    def __init__(self, folder: Path, database_url: str, artifacts: str, environment: Mapping[str, str]) -> None:
        self.log = folder / "mlflow-server.log"
        self.port = _free_port()
        self._environment = {
            "DATABASE_URL": database_url,
            "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
            "MLFLOW_PORT": str(self.port),
            "TMPDIR": str(folder),  # which whoever kills it removes with the rest
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORDS["admin"],
            "MLFLOW_TRAINER_PASSWORD": PASSWORDS["trainer"],
            "MLFLOW_REGISTRY_PASSWORD": PASSWORDS["registry"],
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, which stays the same."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that a container would start."""
        assert self._process is not None, "it was not started"
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it, again or for the first time; returns when it answers.

        It ends with the thread that starts it, because the kernel takes that for its parent.
        """
        assert self._process is None, "it runs already"
        with self.log.open("ab") as log:
            self._process = start_child(
                [sys.executable, "-m", "standalone.mlflow_server"], output=log, env=self.environment()
            )
        if wait:
            self.wait_until_healthy()

    def wait_until_healthy(self) -> None:
        """Return when its health route answers."""
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_healthy():
            if not self.is_running() or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"MLflow's server did not start; it said:\n{self.said()}")
            time.sleep(0.1)

    def stop(self) -> int:
        """Ask it to stop, as Kubernetes does; returns its exit code when it is gone."""
        process, self._process = self._process, None
        assert process is not None, "it was not started"
        process.terminate()
        return process.wait(_STOP_SECONDS)

    def kill(self) -> None:
        """End all of its processes as a crash of its container would; returns when they are gone."""
        process, self._process = self._process, None
        if process is None:
            return
        family = family_of(process.pid)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        while self.is_healthy(timeout=0.2):
            time.sleep(0.02)

    def restart(self) -> None:
        """Kill it and start it again on the same port, database and bucket."""
        self.kill()
        self.start()

    def is_running(self) -> bool:
        """Tell whether its first process lives."""
        return self._process is not None and self._process.poll() is None

    def is_healthy(self, *, timeout: float = 2.0) -> bool:
        """Tell whether its health route answers, without credentials."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=timeout) as answer:  # noqa: S310 - http
                return bool(answer.status == 200)
        except OSError:
            return False

    def environment(self) -> dict[str, str]:
        """Return the whole environment with which it is started."""
        return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | self._environment

    def client_environment(self, user: str = "trainer") -> dict[str, str]:
        """Return the variables with which MLflow's client works here as one of the accounts."""
        return {
            "MLFLOW_TRACKING_URI": self.url,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": PASSWORDS[user],
        }

    def ask(
        self, path: str, body: Mapping[str, Any] | None = None, *, user: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        """Send a plain request, a POST where there is a body; return the status and what was answered."""
        request = urllib.request.Request(f"{self.url}{path}", headers=headers)  # noqa: S310 - http
        if user is not None:
            name, _, password = user.partition(":")
            token = b64encode(f"{name}:{password or PASSWORDS[name]}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http
                return answer.status, _parsed(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _parsed(error.read())

    def said(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-4000:]


def family_of(pid: int) -> list[int]:
    """Return a process and all below it, as Linux tells them."""
    found = [pid]
    for task in found:
        with suppress(OSError):
            found += [int(p) for p in Path(f"/proc/{task}/task/{task}/children").read_text().split()]
    return found


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
