"""A Kubernetes cluster as tests use it: by kubectl, as a person would, in a namespace that is gone afterwards."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

_COMMAND_SECONDS = 60.0
_SECRETLESS = re.compile(r"^#.*$", re.MULTILINE)


class Cluster:
    """One namespace of the cluster that KUBECONFIG names."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = _COMMAND_SECONDS) -> str:
        """Return what kubectl wrote on standard output; its failure fails the test."""
        done = self.run(*arguments, stdin=stdin, seconds=seconds)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def run(
        self, *arguments: str, stdin: str | None = None, seconds: float = _COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end."""
        command = ["kubectl", f"--namespace={self.namespace}", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)

    def apply(self, file: Path, **values: str) -> None:
        """Apply a file, its ``${...}`` filled in as envsubst would; a name without value is a defect of the test."""
        text = Template(_SECRETLESS.sub("", file.read_text())).substitute(values)
        self.kubectl("apply", "--filename=-", stdin=text)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "--output=json"))
        return found

    def pods_of(self, service: str) -> list[dict[str, Any]]:
        """Return the pods of an InferenceService that are not on their way out."""
        selector = f"--selector=serving.kserve.io/inferenceservice={service}"
        items = json.loads(self.kubectl("get", "pods", selector, "--output=json"))["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def wait_for(self, condition: str, target: str, *, within: int) -> None:
        """Wait until an object's condition is true; if it does not come, what it has is in the failure."""
        done = self.run("wait", f"--for=condition={condition}", target, f"--timeout={within}s", seconds=within + 15)
        if done.returncode != 0:
            pods = self.run("get", "pods", "--output=wide").stdout
            events = self.run("get", "events", "--sort-by=.lastTimestamp").stdout
            raise AssertionError(f"{target} is not {condition}: {done.stderr}{pods}{events[-4000:]}")

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[str]:
        """Yield an address on this machine that leads to a port of a pod or Service."""
        command = ["kubectl", f"--namespace={self.namespace}", "port-forward", target, f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            try:
                address = re.search(r"127\.0\.0\.1:\d+", said)
                assert address, f"kubectl port-forward: {said}"
                yield address.group()
            finally:
                process.terminate()


def wait_until(condition: Callable[[], bool], what: str, *, within: float = 60) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not {what} within {within} s"
        time.sleep(0.2)
