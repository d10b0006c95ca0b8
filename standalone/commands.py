"""The commands `telltale serve`, `telltale token` and `telltale mlflow`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from standalone.errors import StandaloneError
from standalone.settings import StandaloneSettings

_data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for everything that is kept.  [default: .telltale; env TELLTALE_DATA]",
)


@click.command(name="serve")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1; env TELLTALE_HOST]")
@click.option("--port", type=click.IntRange(0, 65535), help="HTTP port.  [default: 8000; env TELLTALE_PORT]")
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    help="gRPC port.  [default: the one after the HTTP port, 8001; env TELLTALE_GRPC_PORT]",
)
@_data_option
@click.option("--no-sample-fleet", is_flag=True, help="Do not ingest the sample fleet at first start.")
@click.option(
    "--logs",
    type=click.Choice(["auto", "files", "stderr"]),
    default="auto",
    show_default=True,
    help="Where the parts' JSON logs go; auto: the data folder's logs/ on a terminal, else standard error.",
)
def serve_command(
    host: str | None, port: int | None, grpc_port: int | None, data: Path | None, no_sample_fleet: bool, logs: str
) -> None:
    """Start Telltale on this machine.

    Telemetry goes in at POST /ingest, models are trained and kept in MLflow, POST /score answers. PostgreSQL is
    embedded (DATABASE_URL names another), files are in the data folder. Ctrl-C stops it; nothing acknowledged is lost.
    """
    from standalone.serve import serve  # noqa: PLC0415 - so that --help answers at once

    with _told_plainly():
        settings = _settings(
            host=host, port=port, grpc_port=grpc_port, data=data, sample_fleet=False if no_sample_fleet else None
        )
        to_files = logs == "files" or (logs == "auto" and sys.stderr.isatty())
        serve(settings, _reporter(), logs_to_files=to_files)


@click.command(name="mlflow")
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="The UI's port.")
@_data_option
def mlflow_command(port: int, data: Path | None) -> None:
    """Open the MLflow UI on the same store.

    Uses the PostgreSQL of the running `telltale serve`, or starts it for as long as the UI runs.
    """
    from standalone.mlflow_ui import run_ui  # noqa: PLC0415 - so that --help answers at once

    with _told_plainly():
        run_ui(_settings(data=data), port, _reporter())


@click.command(name="token")
@click.option("--subject", default="telltale-cli", show_default=True, help="Whom it names; quotas count by subject.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["telemetry:ingest", "telemetry:score", "models:read"]),
    help="What it may do; give it several times.  [default: all three]",
)
@click.option(
    "--hours", type=click.FloatRange(0.01, 8784), default=1.0, show_default=True, help="How long it is valid."
)
@_data_option
def token_command(subject: str, scopes: tuple[str, ...], hours: float, data: Path | None) -> None:
    """Make a token for a server with a shared secret.

    Signs with TELLTALE_AUTH_SECRET, else with the secret that the data folder keeps, and names TELLTALE_AUTH_AUDIENCE
    and TELLTALE_AUTH_ISSUER where they are set. The token goes to standard output:
    curl -H "Authorization: Bearer $(telltale token)" …
    """
    from standalone.access import (  # noqa: PLC0415 - so that --help answers at once
        SCOPES,
        AccessSettings,
        Wanted,
        token,
        with_kept_secret,
    )

    with _told_plainly():
        access = AccessSettings()
        if not access.authenticates:
            access = with_kept_secret(access, _settings(data=data).data, make=False)
        click.echo(token(access, Wanted(subject, scopes or SCOPES, hours * 3600)))


def _settings(**given: Any) -> StandaloneSettings:
    """Return the settings of the environment, with the options that were given on top."""
    return StandaloneSettings(**{name: value for name, value in given.items() if value is not None})


def _reporter() -> Callable[[str], None]:
    def report(line: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads any more, which must not keep us from stopping in order
            click.echo(line, err=True)

    return report


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Show what keeps us from running as a sentence, not as a traceback."""
    try:
        yield
    except StandaloneError as error:
        raise click.ClickException(str(error)) from error
    except ValidationError as error:
        faults = "; ".join(_fault(fault["loc"], fault["msg"]) for fault in error.errors())
        raise click.ClickException(f"a setting is wrong: {faults}") from error
    except PermissionError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror} (user {os.geteuid()})") from error


def _fault(location: tuple[int | str, ...], message: str) -> str:
    if not location:  # of several settings together, which the message names
        return message.removeprefix("Value error, ")
    name = str(location[0])
    return f"{name if name.isupper() else f'TELLTALE_{name.upper()}'}: {message}"
