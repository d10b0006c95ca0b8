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
from threading import Event

from pydantic import ValidationError
from pydantic_settings import SettingsError

from registry import mlflow_environment
from registry.errors import RegistryError
from registry.settings import RegistrySettings
from registry.tracing_logs import configure
from telemetry.spans import pipeline_for

_log = logging.getLogger("registry")

_GRACE_SECONDS = 10.0
_LAST_SPANS_SECONDS = 2.0


def main() -> int:
    """Compose the controller and run it; return the exit code."""
    parser = _parser()
    given = parser.parse_args()
    try:
        settings = RegistrySettings(**({} if given.log_level is None else {"log_level": given.log_level}))
    except (ValidationError, SettingsError) as error:
        parser.error(f"{error}: {error.__cause__}" if isinstance(error, SettingsError) else str(error))
    configure(settings.log_level)
    mlflow_environment.prepare()
    try:
        return asyncio.run(_run(settings))
    except (RegistryError, OSError) as error:
        _log.error("the controller cannot start: %s", error)
        return 1


async def _run(settings: RegistrySettings) -> int:
    from registry.composition import build  # noqa: PLC0415 - imports MLflow, which reads the environment just set
    from registry.controller import join  # noqa: PLC0415 - the same
    from registry.watches import Watches  # noqa: PLC0415 - imports kopf, as the next
    from registry.watching import WATCHED, watch  # noqa: PLC0415 - the same for kopf and its loggers

    spans = pipeline_for("telltale-registry", os.environ)
    controller, stop, watches = build(settings, spans=spans), Event(), Watches(WATCHED, settings.namespaces)
    signalled, begun, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    health = controller.health(watches.ailment)
    threads = controller.start(stop)
    health.start()
    _log.info("health and metrics at http://%s:%d", settings.health_host, health.port)
    watching = asyncio.create_task(watch(controller.workers.enqueue, settings.namespaces, ended, begun, watches))
    listening = asyncio.create_task(_take_signals(begun, signalled))
    try:
        await asyncio.wait({watching, asyncio.create_task(signalled.wait())}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        listening.cancel()
        stop.set()
        controller.hurry()
        await asyncio.to_thread(join, threads, _GRACE_SECONDS)  # for a request to the API server, at the longest
        ended.set()
    try:
        await watching
    finally:
        controller.close()
        health.stop()
        if spans is not None:
            spans.stop(_LAST_SPANS_SECONDS)
    _log.info("stopped")
    return 0


async def _take_signals(begun: asyncio.Event, signalled: asyncio.Event) -> None:
    """Hear SIGTERM and SIGINT, from each time that kopf has begun.

    It takes them for itself then, and it takes its time to end: the lease is to be let go of first.
    """
    while True:
        await begun.wait()
        begun.clear()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, signalled.set)


def _parser() -> argparse.ArgumentParser:
    lines = ["settings, from the environment (with their defaults):", ""]
    for name, field in RegistrySettings.model_fields.items():
        variable = str(field.validation_alias or f"TELLTALE_{name}".upper())
        lines.append(f"  {variable} ({field.get_default(call_default_factory=True)})")
        lines += textwrap.wrap(field.description or "", 100, initial_indent="      ", subsequent_indent="      ")
    parser = argparse.ArgumentParser(
        prog="python -m registry",
        description=__doc__,
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="instead of TELLTALE_LOG_LEVEL; debug tells of each look and each call, and what it came to",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
