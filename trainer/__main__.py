"""`python -m trainer`: a worker that trains what is queued, until SIGTERM or SIGINT.

It takes one job at a time: reads the window, fits an Isolation Forest, records it in MLflow, writes the model store.
Any number of workers may share one database, here (--workers) and elsewhere. Whatever the moment at which one is
killed, another finishes its job.

Exit codes: 0 after a signal, 1 if it cannot start or an attempt got stuck, 2 for wrong settings.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import textwrap
import time

from pydantic import ValidationError

from contract.json_logs import configure_logging
from store.errors import StoreUnavailable
from store.jobs import Jobs
from store.postgres import Postgres
from store.queue import TrainingQueue
from telemetry.spans import pipeline_for
from trainer.errors import TrainingError
from trainer.health_server import HealthServer, ask
from trainer.settings import TrainerSettings
from trainer.supervision import Workers
from trainer.vitals import Patience, Vitals

_LOWEST = 19
_LAST_SPANS_SECONDS = 2.0
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
# How MLflow's client calls a server. Left alone it tries every call again, also one that makes something and of which
# only the answer was lost; and it goes on for minutes. Jobs are tried again as a whole.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
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
    given = parser.parse_args()
    try:
        settings = TrainerSettings(**({} if given.workers is None else {"trainer_workers": given.workers}))
    except ValidationError as error:
        parser.error(str(error))
    if given.health:
        return _ask_health(settings, parser)
    configure_logging(settings.log_level)
    for name, level in _QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(max(level, logging.getLogger().level))
    parent_to_watch = parent if settings.stop_with_parent else None
    if settings.trainer_workers > 1:
        workers = Workers(settings.trainer_workers, settings.trainer_metrics_port, settings.stop_grace_seconds)
        workers.run(parent=parent_to_watch)
        return 0
    os.environ.update({name: value for name, value in (_QUIET | _PATIENCE).items() if name not in os.environ})
    return _work(settings, parent_to_watch)


def _ask_health(settings: TrainerSettings, parser: argparse.ArgumentParser) -> int:
    """Ask the workers of this machine or container how they are: 0 if all are well, 1 if not."""
    first = settings.trainer_metrics_port
    if not first:
        parser.error("--health asks the port that TELLTALE_TRAINER_METRICS_PORT names, and it is not set")
    host = settings.trainer_metrics_host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound to
    ailment = ask(host, range(first, first + settings.trainer_workers))
    sys.stdout.write(f"{ailment or 'ok'}\n")
    return 0 if ailment is None else 1


def _give_way(niceness: int) -> None:
    os.nice(niceness)
    if niceness == _LOWEST and hasattr(os, "SCHED_IDLE"):
        # A waking process takes the core from an idle-class one at once, from a nice one often only at the next tick.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _work(settings: TrainerSettings, parent: int | None) -> int:
    """Run the worker until it is asked to stop, or ``parent`` is gone."""
    vitals = Vitals(
        time.monotonic,
        Patience(settings.lost_after_seconds, start=settings.hung_after_seconds, attempt=settings.attempt_seconds),
    )
    postgres = Postgres(settings.database_url, max_connections=4)
    postgres.open()
    spans = pipeline_for("telltale-trainer", os.environ)
    try:
        if settings.trainer_metrics_port:
            _health_server(settings, postgres, vitals).start()
        from trainer.composition import build  # noqa: PLC0415 - imports MLflow, which reads the environment just set

        _give_way(settings.niceness)  # after the import, so that a start is not held up
        worker = build(settings, postgres, vitals, spans)
        asyncio.run(worker.run(parent=parent))
    except (StoreUnavailable, TrainingError, OSError) as error:
        _log.error("the trainer cannot start: %s", error)
        return 1
    finally:
        postgres.close()
        if spans is not None:
            spans.stop(_LAST_SPANS_SECONDS)
    return 0


def _health_server(settings: TrainerSettings, postgres: Postgres, vitals: Vitals) -> HealthServer:
    from trainer.metrics import TrainerMetrics, exposition  # noqa: PLC0415 - only who wants it has the library

    metrics = TrainerMetrics(vitals, Jobs(postgres, TrainingQueue(postgres)).counted)
    host, port = settings.trainer_metrics_host, settings.trainer_metrics_port
    server = HealthServer(host, port, vitals, exposition(metrics))
    _log.info("health and metrics at http://%s:%d", host, port)
    return server


def _parser() -> argparse.ArgumentParser:
    lines = ["settings, from the environment (with their defaults):", ""]
    for name, field in TrainerSettings.model_fields.items():
        variable = str(field.validation_alias or f"TELLTALE_{name}".upper())
        lines.append(f"  {variable} ({field.default})")
        lines += textwrap.wrap(field.description or "", 100, initial_indent="      ", subsequent_indent="      ")
    parser = argparse.ArgumentParser(
        prog="python -m trainer",
        description=__doc__,
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", type=int, metavar="N", help="run N workers, instead of TELLTALE_TRAINER_WORKERS")
    parser.add_argument(
        "--health",
        action="store_true",
        help="ask the workers that run here whether they are well: exit code 0 or 1",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
