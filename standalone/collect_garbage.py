"""`telltale gc`: remove the batches, model versions and runs that nobody needs, or only say which those are.

On one machine it uses the running instance's database, or starts it for as long as it takes. Where DATABASE_URL,
TELLTALE_OBJECT_STORE and MLFLOW_TRACKING_URI name the stores of a deployment it needs nothing else, so that a CronJob
with the trainer's image and environment runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
import psycopg
from pydantic import ValidationError
from rich.console import Console

from contract.names import is_model_name
from contract.version_ids import is_version_id
from standalone.data_folder import DataFolder
from standalone.errors import DataFolderInUse, NotAllowed, StandaloneError
from standalone.garbage_report import Report
from standalone.settings import StandaloneSettings, parts_environment
from store.errors import StoreError
from store.migrate import sqlalchemy_url
from store.object_url import Folder, place_of
from store.postgres import Postgres

if TYPE_CHECKING:
    from trainer.retention.plan import Policy
    from trainer.settings import TrainerSettings

# All that is asked can be done twice, so a server of MLflow's may be asked again; not for minutes though.
_MLFLOW = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


@dataclass(frozen=True)
class Wanted:
    """What the options say, on top of the settings."""

    older_than: float | None
    keep_versions: int | None
    grace_hours: float | None
    keep: dict[tuple[str, str], str]
    trust_stores: bool


def _kept(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """Read MODEL=VERSION."""
    found = {}
    for text in value:
        model, _, version = text.strip().partition("=")
        if not (is_model_name(model) and is_version_id(version)):
            raise click.BadParameter(f"{text!r} is not MODEL=VERSION, such as default=20240115100000", ctx, param)
        found[model, version] = "asked to be kept"
    return found


def _kept_from(ctx: click.Context, param: click.Parameter, value: TextIO | None) -> dict[tuple[str, str], str]:
    """Read a MODEL=VERSION from each line."""
    if value is None:
        return {}
    with value:
        lines = tuple(line.partition("#")[0].strip() for line in value)
    return _kept(ctx, param, tuple(filter(None, lines)))


@click.command(name="gc")
@click.option("--dry-run", is_flag=True, help="Only say what would go, and why.")
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="Keep batches and versions so long.")
@click.option("--keep-versions", type=click.IntRange(min=1), metavar="N", help="Keep the newest N of each model.")
@click.option("--grace-hours", type=click.FloatRange(min=0), metavar="H", help="Touch nothing that is younger.")
@click.option("--keep", multiple=True, callback=_kept, metavar="MODEL=VERSION", help="Keep this version; repeatable.")
@click.option(
    "--keep-from",
    type=click.File(),
    callback=_kept_from,
    metavar="FILE",
    help="Keep the versions that this file names, a MODEL=VERSION on each line; - reads standard input.",
)
@click.option(
    "--trust-stores",
    is_flag=True,
    help="Remove orphans even where they are so many that these look like the wrong stores.",
)
@click.option(
    "--purge-runs",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Then let `mlflow gc` free what runs take that were deleted so long ago; not with a server of MLflow's.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="The data folder.  [env TELLTALE_DATA]")
def gc_command(
    *,
    dry_run: bool,
    older_than: float | None,
    keep_versions: int | None,
    grace_hours: float | None,
    keep: dict[tuple[str, str], str],
    keep_from: dict[tuple[str, str], str],
    trust_stores: bool,
    purge_runs: float | None,
    output: str,
    data: Path | None,
) -> None:
    """Remove what nobody needs: old batches, versions and runs, and what crashes left.

    What an alias names, what is served, and what a training that can come would read is kept whatever its age. The
    settings TELLTALE_KEEP_* and TELLTALE_GC_GRACE_HOURS say for how long the rest is. Exits with 1 if a store could not
    be asked, or could not do what it was asked.
    """
    wanted = Wanted(older_than, keep_versions, grace_hours, keep | keep_from, trust_stores)
    report = Report(Console(stderr=True), as_json=output == "json", dry_run=dry_run)
    try:
        settings = StandaloneSettings() if data is None else StandaloneSettings(data=data)
        with _database(settings, report) as url:
            whole = _collect(settings, url, wanted, report)
            if purge_runs is not None and not dry_run:
                purge(os.environ["MLFLOW_TRACKING_URI"], purge_runs)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors())
        raise click.ClickException(f"a setting is wrong: {faults}") from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise click.ClickException("the database holds no Telltale, or one of an older version") from error
    except (StandaloneError, StoreError, psycopg.Error, PermissionError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if whole else 1)


def _collect(settings: StandaloneSettings, url: str, wanted: Wanted, report: Report) -> bool:
    """Find, and carry out; return whether every store did what it was asked."""
    _refuse_no_store(settings)
    environment = parts_environment(settings, settings.data.resolve(), url, sqlalchemy_url(url))
    # MLflow reads its own when it is imported, the trainer's settings read the others.
    os.environ.update(_MLFLOW | environment)
    from trainer.retention.composition import build  # noqa: PLC0415 - imports MLflow, and so that --help answers at once
    from trainer.settings import TrainerSettings  # noqa: PLC0415 - the same

    trainer = TrainerSettings()
    postgres = Postgres(url, max_connections=2)
    postgres.open()
    with closing(postgres):
        gc = build(trainer, postgres)
        with report.looking() as progress:
            plan = gc.find(_policy(trainer, wanted), progress)
        report.found(plan)
        return report.removed(plan, () if report.dry_run else gc.carry_out(plan))


def purge(tracking_uri: str, days: float) -> None:
    """Free what runs and experiments take that were deleted so many days ago, whoever made them.

    Raises:
        NotAllowed: a server keeps them, and only its own machine reaches where they are.
        StandaloneError: MLflow could not; its words are on standard error.

    """
    if tracking_uri.startswith(("http://", "https://")):
        raise NotAllowed("--purge-runs needs MLflow's database: run `mlflow gc` where its server runs")
    # The URI holds a password, and a command line can be read by everybody.
    env = os.environ | {"MLFLOW_TRACKING_URI": tracking_uri}
    command = [sys.executable, "-m", "mlflow", "gc", "--older-than", f"{days:f}d"]
    done = subprocess.run(command, env=env, stdout=sys.stderr.fileno(), check=False)  # noqa: S603 - nothing of a stranger's
    if done.returncode != 0:
        raise StandaloneError(f"`mlflow gc` ended with exit code {done.returncode}; its words are above")


def _policy(trainer: TrainerSettings, wanted: Wanted) -> Policy:
    from trainer.retention.settings import RetentionSettings  # noqa: PLC0415 - so that --help answers at once
    from trainer.window import Bounds  # noqa: PLC0415 - the same

    given: dict[str, Any] = {
        "keep_batch_days": wanted.older_than,
        "keep_version_days": wanted.older_than,
        "keep_versions": wanted.keep_versions,
        "gc_grace_hours": wanted.grace_hours,
    }
    settings = RetentionSettings(**{name: value for name, value in given.items() if value is not None})
    window = Bounds(trainer.window_records, trainer.window_values, trainer.window_batches)
    return settings.policy(window, keep=wanted.keep, trusting=wanted.trust_stores)


def _refuse_no_store(settings: StandaloneSettings) -> None:
    """Refuse a folder that is not there: opened, it would be made, and an empty store looks like a lost one."""
    place = place_of(settings.object_store_or_folder)
    if isinstance(place, Folder) and not place.path.is_dir():
        raise StandaloneError(
            f"there is no object store at {place.path}: set TELLTALE_OBJECT_STORE as for the trainer, or --data"
        )


@contextmanager
def _database(settings: StandaloneSettings, report: Report) -> Iterator[str]:
    """Yield the URL of DATABASE_URL, of the running instance, or of a database started for the time being."""
    from standalone.serve import database  # noqa: PLC0415 - so that --help answers at once

    if settings.database_url is not None:
        yield settings.database_url
        return
    if not settings.data.is_dir():
        raise StandaloneError(f"there is no data folder {settings.data}: name it with --data, or set DATABASE_URL")
    data = DataFolder(settings.data)
    try:
        with data.locked(), database(settings, data, report.say, threading.Event()) as (url, _):
            yield url
    except DataFolderInUse:
        running = data.instance()
        if running is None:
            raise
        yield running.database_url
