"""`telltale mlflow`: MLflow's UI on the store that `telltale serve` trains into."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from standalone.data_folder import DataFolder
from standalone.errors import DataFolderInUse, NotAllowed
from standalone.serve import database, listen
from standalone.server_process import run_until_signalled
from standalone.settings import StandaloneSettings, parts_environment
from store.migrate import making_mlflow_tables, sqlalchemy_url


def run_ui(settings: StandaloneSettings, port: int, report: Callable[[str], None]) -> None:
    """Run MLflow's server until Ctrl-C.

    Raises:
        PortTaken: something listens on ``port``.
        StandaloneError: the store cannot be opened.

    """
    with listen("127.0.0.1", port) as probe:
        port = probe.getsockname()[1]
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    if given.startswith(("http://", "https://")):
        raise NotAllowed("MLFLOW_TRACKING_URI names a server, which has its own UI: open it there, or unset it")
    data = DataFolder(settings.data)
    with _database_url(settings, data, report) as url:
        env = parts_environment(settings, data.path, url, sqlalchemy_url(url))
        env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        # The URI holds the database's password, and a command line can be read by everybody.
        env |= dict.fromkeys(("MLFLOW_BACKEND_STORE_URI", "MLFLOW_REGISTRY_STORE_URI"), env["MLFLOW_TRACKING_URI"])
        command += ["--serve-artifacts"]
        command += ["--artifacts-destination", env["TELLTALE_MLFLOW_ARTIFACT_ROOT"]]
        report(f"MLflow's UI will be at http://127.0.0.1:{port} in a few seconds; Ctrl-C ends it")
        run_until_signalled("MLflow's server", command, env)


@contextmanager
def _database_url(settings: StandaloneSettings, data: DataFolder, report: Callable[[str], None]) -> Iterator[str]:
    """Yield the URL of the running instance's database, or of one started for the time being."""
    try:
        with data.locked(), database(settings, data, report, threading.Event()) as (url, _):
            with making_mlflow_tables(url):
                pass  # a trainer that is still making them finishes first
            yield url
    except DataFolderInUse:
        running = data.instance()
        if running is None:
            raise
        report(f"using the database of the Telltale that runs at {running.url}")
        yield running.database_url
