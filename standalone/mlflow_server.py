"""`telltale mlflow-server`: MLflow's server as it is deployed, on PostgreSQL, with artefacts in S3 and closed accounts.

It is one command for a container: everything comes from the environment, SIGTERM stops all of its processes and it
exits with 0, and `--check` is a health check. `telltale mlflow`, without accounts, is the UI for one machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import click
from pydantic import ValidationError

from standalone.errors import StandaloneError
from standalone.mlflow_settings import MlflowServerSettings, server_environment, write_auth_file
from standalone.server_process import run_until_signalled

_CHECK_SECONDS = 5.0
_GRACE_SECONDS = 10.0


@click.command(name="mlflow-server")
@click.option("--check", is_flag=True, help="Ask the one that runs here whether it is well, and exit with 0 if so.")
def mlflow_server_command(*, check: bool) -> None:
    """Run MLflow's server as it is deployed.

    Settings come from the environment; docs/mlflow.md lists them. TELLTALE_SECRETS_DIR names a folder with a file for
    each that should not be a variable, such as MLFLOW_AUTH_ADMIN_PASSWORD.
    """
    if check:
        _check(int(os.environ.get("MLFLOW_PORT") or 5000))
        return
    try:
        serve_mlflow(read_settings())
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'settings'}: {f['msg']}" for f in error.errors())
        raise click.ClickException(f"MLflow's server cannot start: {faults}") from error
    except (StandaloneError, ValueError) as error:
        raise click.ClickException(str(error)) from error


def read_settings() -> MlflowServerSettings:
    """Return the settings of the environment and of the folder of secrets, if there is one."""
    folder = os.environ.get("TELLTALE_SECRETS_DIR") or None
    if folder is not None and not Path(folder).is_dir():
        raise StandaloneError(f"TELLTALE_SECRETS_DIR: {folder} is no folder")
    return MlflowServerSettings(_secrets_dir=folder)


def serve_mlflow(settings: MlflowServerSettings) -> None:
    """Run the server until SIGINT or SIGTERM.

    Raises:
        StandaloneError: it ended by itself; what it said is on standard error.
        ValueError: DATABASE_URL is no PostgreSQL URL.

    """
    with tempfile.TemporaryDirectory(prefix="telltale-mlflow-") as folder:
        auth_file = Path(folder) / "basic_auth.ini"
        write_auth_file(settings, auth_file)
        env = server_environment(settings, auth_file, os.environ)
        command = [sys.executable, "-m", "standalone.mlflow_process"]
        run_until_signalled("MLflow's server", command, env, grace_seconds=_GRACE_SECONDS)


def _check(port: int) -> None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=_CHECK_SECONDS):
            pass
    except (urllib.error.URLError, OSError) as error:
        raise click.ClickException(f"MLflow's server is not well: {error}") from error


if __name__ == "__main__":
    mlflow_server_command()
