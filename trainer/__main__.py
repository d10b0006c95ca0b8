"""`python -m trainer`: a worker that trains what is queued, until SIGTERM or SIGINT.

It takes one job at a time: reads the window, fits an Isolation Forest, records it in MLflow, writes the model store.
Several workers may share one database. Whatever the moment at which one is killed, another finishes its job.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import textwrap

from pydantic import ValidationError

from contract.json_logs import configure_logging
from store.errors import StoreUnavailable
from store.postgres import Postgres
from trainer.errors import TrainingError
from trainer.settings import TrainerSettings

_LOWEST = 19
_log = logging.getLogger("trainer")

# MLflow reads these when it is imported: no telemetry, no handlers and no pictograms of its own, no look at git or uv.
_QUIET = {
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MPLBACKEND": "Agg",
}
# What these say below a warning is of no use to an operator, nor is that pip is not installed.
_QUIET_LOGGERS = {
    "alembic": logging.WARNING,
    "matplotlib": logging.WARNING,
    "mlflow": logging.WARNING,
    "mlflow.utils.environment": logging.ERROR,
    "procrastinate": logging.WARNING,
}


def main() -> int:
    """Compose the worker and run it; return the exit code."""
    # Until the worker listens, a signal just ends the process, with no traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = os.getppid()
    parser = _parser()
    parser.parse_args()
    try:
        settings = TrainerSettings()
    except ValidationError as error:
        parser.error(str(error))
    configure_logging(settings.log_level)
    for name, level in _QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(max(level, logging.getLogger().level))
    os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
    return _work(settings, parent if settings.stop_with_parent else None)


def _give_way(niceness: int) -> None:
    os.nice(niceness)
    if niceness == _LOWEST and hasattr(os, "SCHED_IDLE"):
        # A waking process takes the core from an idle-class one at once, from a nice one often only at the next tick.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _work(settings: TrainerSettings, parent: int | None) -> int:
    """Run the worker until it is asked to stop, or ``parent`` is gone."""
    from trainer.composition import build  # noqa: PLC0415 - imports MLflow, which reads the environment just set

    _give_way(settings.niceness)  # after the import, so that a start is not held up
    postgres = Postgres(settings.database_url, max_connections=3)
    postgres.open()
    try:
        worker = build(settings, postgres)
        asyncio.run(worker.run(parent=parent))
    except (StoreUnavailable, TrainingError) as error:
        _log.error("the trainer cannot start: %s", error)
        return 1
    finally:
        postgres.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    lines = ["settings, from the environment (with their defaults):", ""]
    for name, field in TrainerSettings.model_fields.items():
        variable = str(field.validation_alias or f"TELLTALE_{name}".upper())
        lines.append(f"  {variable} ({field.default})")
        lines += textwrap.wrap(field.description or "", 100, initial_indent="      ", subsequent_indent="      ")
    return argparse.ArgumentParser(
        prog="python -m trainer",
        description=__doc__,
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    raise SystemExit(main())
