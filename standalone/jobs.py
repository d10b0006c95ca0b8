"""`telltale jobs`: the training jobs of a running Telltale, here or elsewhere: listed, shown, retried, cancelled.

It speaks to PostgreSQL alone, so it works while the servers and trainers are down, which is when it is wanted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import psycopg
from pydantic import ValidationError
from rich.console import Console

from standalone import jobs_view as view
from standalone.data_folder import read_instance
from standalone.settings import StandaloneSettings
from store.errors import StoreUnavailable
from store.ingest_log import State
from store.jobs import Job, JobRefused, Jobs, NoSchema
from store.postgres import Postgres, connection_options
from store.queue import TrainingQueue

_UNFINISHED: tuple[State, ...] = ("queued", "training", "failed")
_STATES: tuple[State, ...] = (*_UNFINISHED, "done")

F = TypeVar("F", bound=Callable[..., Any])


def _data_option(command: F) -> F:
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        help="Data folder of the running `telltale serve`, unless DATABASE_URL is set.  [default: .telltale; env"
        " TELLTALE_DATA]",
    )(command)


def _output_option(*formats: str) -> Callable[[F], F]:
    return click.option("-o", "--output", type=click.Choice(["auto", *formats]), default="auto", show_default=True)


@click.group(name="jobs", invoke_without_command=True)
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Only these; give it several times.")
@click.option("--all", "with_done", is_flag=True, help="Those that are done, too.")
@click.option("--model", help="Only those of this model.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="The newest so many.")
@_output_option("table", "plain", "json")
@_data_option
@click.pass_context
def jobs_command(
    context: click.Context,
    states: tuple[State, ...],
    model: str | None,
    limit: int,
    output: str,
    data: Path | None,
    *,
    with_done: bool,
) -> None:
    """List training jobs; show, retry or cancel them.

    Without a command it lists the jobs that wait, are in training, or have failed. A failed job is kept with its
    telemetry until it is retried, and then makes the version that it was to make.

    -o auto is a table on a terminal, and lines with tabs elsewhere.

    Uses the PostgreSQL of DATABASE_URL, else that of the `telltale serve` which runs on the data folder.
    """
    context.obj = data
    if context.invoked_subcommand is not None:
        return
    with _jobs(data) as jobs:
        listed = jobs.listed(states or (_STATES if with_done else _UNFINISHED), model=model, limit=limit)
        if len(listed) == limit:
            click.echo(f"the newest {limit} only; --limit shows more", err=True)
        _show_list(listed, output)


@jobs_command.command(name="show")
@click.argument("job")
@_output_option("plain", "json")
@_data_option
@click.pass_obj
def show_command(group_data: Path | None, job: str, output: str, data: Path | None) -> None:
    """Show all that is known of a job; the beginning of its id will do."""
    with _jobs(data or group_data) as jobs:
        found = _found(jobs, job)
        click.echo(view.one_as_json(found) if output == "json" else "\n".join(view.details(found, _now())))


@jobs_command.command(name="retry")
@click.argument("job", nargs=-1)
@click.option("--all-failed", is_flag=True, help="Every job that has failed.")
@click.option("--model", help="With --all-failed: only those of this model.")
@_data_option
@click.pass_obj
def retry_command(
    group_data: Path | None, job: tuple[str, ...], model: str | None, data: Path | None, *, all_failed: bool
) -> None:
    """Queue failed jobs again.

    The next free worker trains them, with as many attempts as a new batch has.
    """
    if bool(job) == all_failed:
        raise click.UsageError("name the jobs to retry, or give --all-failed")
    if model is not None and not all_failed:
        raise click.UsageError("--model goes with --all-failed")
    with _jobs(data or group_data) as jobs:
        failed = jobs.retry_failed(model=model) if all_failed else _each(jobs, job, jobs.retry)
        for one in failed:
            click.echo(f"{view.named(one)} is queued again; it had failed: {one.reason or 'no reason was noted'}")
        if not failed:
            click.echo("nothing has failed")


@jobs_command.command(name="cancel")
@click.argument("job", nargs=-1, required=True)
@_data_option
@click.pass_obj
def cancel_command(group_data: Path | None, job: tuple[str, ...], data: Path | None) -> None:
    """Take jobs out of the queue.

    They are failed then: nothing of them is deleted, and retry brings them back. A job in training is left alone.
    """
    with _jobs(data or group_data) as jobs:
        for one in _each(jobs, job, jobs.cancel):
            click.echo(f"{view.named(one)} is cancelled; `telltale jobs retry {one.id[: view.SHORT]}` brings it back")


def _each(jobs: Jobs, prefixes: Sequence[str], change: Callable[[str], None]) -> list[Job]:
    """Change each of the jobs; return them as they were. Nothing is changed if one of them is not to be found."""
    found = [_found(jobs, prefix) for prefix in prefixes]
    for job in found:
        change(job.id)
    return found


def _found(jobs: Jobs, prefix: str) -> Job:
    match jobs.starting_with(prefix):
        case [job]:
            return job
        case []:
            raise click.ClickException(f"there is no job {prefix!r}; `telltale jobs --all` lists them")
        case _:
            raise click.ClickException(f"several jobs begin with {prefix!r}: give more of the id")


def _show_list(jobs: Sequence[Job], output: str) -> None:
    if output == "json":
        click.echo(view.as_json(jobs))
    elif output == "table" or (output == "auto" and sys.stdout.isatty()):
        if jobs:
            console = Console()
            console.print(view.table(jobs, _now(), width=console.width))
        else:
            click.echo("no jobs")
    else:
        click.echo("\n".join(view.lines(jobs, _now())))


def _now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def _jobs(data: Path | None) -> Iterator[Jobs]:
    """Yield the jobs of the database that is meant; what goes wrong is told as a sentence."""
    url, whose = _database(data)
    with _told(whose):
        psycopg.connect(url, **connection_options()).close()  # its error says more than a pool's
        postgres = Postgres(url, max_connections=1)
        postgres.open()
        try:
            yield Jobs(postgres, TrainingQueue(postgres))
        finally:
            postgres.close()


def _database(data: Path | None) -> tuple[str, str]:
    """Return the database's URL, and how to speak of it."""
    try:
        settings = StandaloneSettings() if data is None else StandaloneSettings(data=data)
    except ValidationError as error:
        raise click.ClickException(f"a setting is wrong: {error.errors()[0]['msg']}") from error
    if settings.database_url is not None:
        return settings.database_url, "the one of DATABASE_URL"
    running = read_instance(settings.data)
    if running is None:
        raise click.ClickException(
            f"no Telltale runs on the data folder {settings.data.resolve()}: start it (`telltale serve`), name its"
            " folder with --data, or set DATABASE_URL"
        )
    return running.database_url, f"that of the Telltale at {running.url}, whose data folder this is"


@contextmanager
def _told(whose: str) -> Iterator[None]:
    try:
        yield
    except JobRefused as refused:
        advice = {
            "not failed": f"it is {refused.state}, and only failed jobs are retried",
            "not queued": f"it is {refused.state}, and only queued jobs are cancelled",
            "unknown": "it is gone",
        }
        raise click.ClickException(f"job {refused.job[: view.SHORT]}: {advice[refused.why]}") from refused
    except NoSchema as error:
        raise click.ClickException(
            f"the database ({whose}) holds no Telltale, or one of an older version: `telltale serve` or"
            " `telltale prepare` of this version brings it up to date"
        ) from error
    except (StoreUnavailable, psycopg.Error) as error:
        said = " ".join(str(error).split())
        raise click.ClickException(f"PostgreSQL ({whose}) cannot be used: {said}") from error
