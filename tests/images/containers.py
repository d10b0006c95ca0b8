"""Containers as a test wants them: started, asked, and gone in the end."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import httpx

# What a careful platform takes from a container; the images must work all the same.
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
_COMMAND_SECONDS = 60


class Docker:
    """A Docker client that reaches its daemon.

    Args:
        client: its path.

    """

    def __init__(self, client: str) -> None:
        self.client = client

    def output(self, *arguments: str, seconds: float = _COMMAND_SECONDS) -> str:
        """Return what a command wrote on standard output; its failure fails the test."""
        return self.run(*arguments, seconds=seconds, check=True).stdout.strip()

    def run(
        self, *arguments: str, seconds: float = _COMMAND_SECONDS, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        done = subprocess.run([self.client, *arguments], capture_output=True, text=True, timeout=seconds, check=False)
        if check:
            assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
        return done

    @contextmanager
    def container(
        self,
        image: str,
        *options: str,
        environment: dict[str, str] | None = None,
        ports: Sequence[int] = (),
        command: Sequence[str] = (),
    ) -> Iterator[Container]:
        """Run a container while the block runs; each port is published on a free one of 127.0.0.1."""
        variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        published = [f"--publish=127.0.0.1::{port}" for port in ports]
        identity = self.output("run", "--detach", *options, *variables, *published, image, *command)
        container = Container(self, identity)
        try:
            yield container
        finally:
            self.run("rm", "--force", "--volumes", identity)


class Container:
    """One container, running or ended."""

    def __init__(self, docker: Docker, identity: str) -> None:
        self._docker = docker
        self._identity = identity

    def address(self, port: int) -> str:
        """Return where a published port is reached, as ``127.0.0.1:12345``."""
        return self._docker.output("port", self._identity, f"{port}/tcp")

    @contextmanager
    def http(self, port: int) -> Iterator[httpx.Client]:
        """Yield a client for a published port."""
        with httpx.Client(base_url=f"http://{self.address(port)}", timeout=20) as client:
            yield client

    def logs(self) -> str:
        """Return all that it has said, on either stream."""
        done = self._docker.run("logs", self._identity, check=True)
        return done.stdout + done.stderr

    def inspect(self, template: str) -> str:
        """Return what Docker knows of it, by a Go template such as ``{{.State.Status}}``."""
        return self._docker.output("inspect", f"--format={template}", self._identity)

    def execute(self, *command: str) -> str:
        """Run a command in it; returns what that wrote on standard output."""
        return self._docker.output("exec", self._identity, *command)

    def signal(self, name: str) -> None:
        """Send a signal to its first process."""
        self._docker.output("kill", f"--signal={name}", self._identity)

    def exit_code(self, *, within: float) -> int:
        """Return its exit code once it has ended, which must be soon."""
        return int(self._docker.output("wait", self._identity, seconds=within))

    def wait_until(self, condition: Callable[[], bool], what: str, *, within: float = 30) -> None:
        """Wait until ``condition`` holds; an address that does not answer yet is no failure. Its logs say why not."""
        deadline = time.monotonic() + within
        while True:
            with suppress(httpx.TransportError):
                if condition():
                    return
            assert time.monotonic() < deadline, f"not {what} within {within} s; it said:\n{self.logs()}"
            time.sleep(0.05)

    def wait_until_ready(self, client: httpx.Client, path: str = "/health/ready", *, within: float = 30) -> None:
        """Wait until ``path`` answers 200."""
        self.wait_until(lambda: client.get(path).status_code == 200, "ready", within=within)
