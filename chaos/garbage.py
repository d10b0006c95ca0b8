"""The garbage collection of an operator: Telltale's own, and MLflow's for the runs that were deleted."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.shape import Shape

_SECONDS = 600.0


def collect(shape: Shape) -> None:
    """Collect what belongs to nobody, however young it is.

    Raises:
        RuntimeError: a collection failed; the message has its words.

    """
    environment = shape.environment | shape.mlflow.client_environment("admin")
    # Few batches and many kills: garbage may well be a large part of what is there.
    _run(["standalone.cli", "gc", "--grace-hours", "0", "--trust-stores"], environment)
    backend = shape.mlflow_database.replace("postgresql://", "postgresql+psycopg://", 1)
    options = ["--tracking-uri", shape.mlflow.url, "--backend-store-uri", backend]
    _run(["mlflow", "gc", *options], environment)


def _run(arguments: list[str], environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{arguments[1]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"[-3000:])
