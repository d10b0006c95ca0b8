"""`python -m registry`: the controller, until SIGTERM or SIGINT.

It watches ServedModels and all that belongs to them, and brings the versions that their selectors mean to all of the
traffic, step by step. Any number of replicas may run; the one that holds the Lease writes.

Exit codes: 0 after a signal, 1 if it cannot start or its watches ended, 2 for wrong settings.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import textwrap
import time
from threading import Event, Thread

from pydantic import ValidationError

from contract.json_logs import configure_logging
from registry.errors import RegistryError
from registry.settings import RegistrySettings

_log = logging.getLogger("registry")

# MLflow reads these when it is imported, or at each call: no telemetry, no handlers of its own, and no long patience,
# since what we ask is asked again anyway.
_MLFLOW = {
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
# What these say below a warning is of no use to an operator.
_QUIET_LOGGERS = ("kopf", "mlflow", "httpx2", "httpx", "httpcore2", "httpcore", "urllib3")
_GRACE_SECONDS = 10.0


def main() -> int:
    """Compose the controller and run it; return the exit code."""
    parser = _parser()
    parser.parse_args()
    try:
        settings = RegistrySettings()
    except ValidationError as error:
        parser.error(str(error))
    configure_logging(settings.log_level)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    os.environ.update({name: value for name, value in _MLFLOW.items() if name not in os.environ})
    try:
        return asyncio.run(_run(settings))
    except (RegistryError, OSError) as error:
        _log.error("the controller cannot start: %s", error)
        return 1


async def _run(settings: RegistrySettings) -> int:
    from registry.composition import build  # noqa: PLC0415 - imports MLflow, which reads the environment just set
    from registry.watching import watch  # noqa: PLC0415 - the same for kopf and its loggers

    controller, stop = build(settings), Event()
    signalled, opened, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    health = controller.health(lambda: None if opened.is_set() else "the watches are not open yet")
    threads = controller.start(stop)
    health.start()
    _log.info("health and metrics at http://%s:%d", settings.health_host, health.port)
    watching = asyncio.create_task(watch(controller.workers.enqueue, settings.namespaces, ended, opened))
    try:
        await asyncio.wait({watching, asyncio.create_task(opened.wait())}, return_when=asyncio.FIRST_COMPLETED)
        # kopf has taken the signals for itself, and it takes its time: the lease is to be let go of first.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, signalled.set)
        await asyncio.wait({watching, asyncio.create_task(signalled.wait())}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        controller.hurry()
        await asyncio.to_thread(_join, threads)
        ended.set()
    try:
        await watching
    finally:
        controller.close()
        health.stop()
    _log.info("stopped")
    return 0


def _join(threads: list[Thread]) -> None:
    """Wait for what is under way: a request to the API server, at the longest."""
    deadline = time.monotonic() + _GRACE_SECONDS
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))


def _parser() -> argparse.ArgumentParser:
    lines = ["settings, from the environment (with their defaults):", ""]
    for name, field in RegistrySettings.model_fields.items():
        variable = str(field.validation_alias or f"TELLTALE_{name}".upper())
        lines.append(f"  {variable} ({field.get_default(call_default_factory=True)})")
        lines += textwrap.wrap(field.description or "", 100, initial_indent="      ", subsequent_indent="      ")
    return argparse.ArgumentParser(
        prog="python -m registry",
        description=__doc__,
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    raise SystemExit(main())
