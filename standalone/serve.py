"""`telltale serve`: the composition root of one machine.

In order: the data folder's lock, the HTTP socket (so that a taken port is told at once), PostgreSQL, the schema, then
the predictor, the trainer and the controller as processes. The first start also ingests a sample fleet.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from standalone.access import AccessSettings, check_access, makes_secret, with_kept_secret
from standalone.data_folder import DataFolder, Instance
from standalone.embedded_postgres import EmbeddedPostgres
from standalone.errors import NotAllowed, PortTaken, PostgresFailed
from standalone.first_start import FirstUse, greet
from standalone.give_up_root import give_up_root
from standalone.settings import StandaloneSettings, parts_environment
from standalone.supervisor import Part, Supervisor, trim_log
from store.errors import StoreUnavailable
from store.local_objects import LocalObjectStore
from store.migrate import migrate, sqlalchemy_url
from store.object_url import open_objects
from store.postgres import connection_options
from store.queue import forget_workers

Report = Callable[[str], None]
_PARTS = (("trainer", "trainer"), ("controller", "standalone.controller_main"))


def serve(settings: StandaloneSettings, report: Report, *, logs_to_files: bool) -> None:
    """Run until a signal asks to stop.

    Args:
        settings: where and what.
        report: takes one line for the person who started this.
        logs_to_files: whether the parts' JSON logs go to the data folder; else to our standard error.

    Raises:
        StandaloneError: it cannot start here; the message says what to do.

    """
    started = time.monotonic()
    access = AccessSettings()
    own_secret = makes_secret(settings, access)
    if not own_secret:
        check_access(settings.host, access, allow_anonymous=settings.allow_anonymous)
    give_up_root(settings.run_as, settings.data)
    check_temporary_folder()
    data = DataFolder(settings.data)
    supervisor = Supervisor(report)
    supervisor.handle_signals()
    with data.locked(), closing(listen(settings.host, settings.port)) as listener:
        # gRPC listens for itself, later: now is the time to say that its port is taken.
        listen(settings.host, settings.grpc_port_or_next, option="--grpc-port").close()
        url = f"http://{_shown(settings.host)}:{listener.getsockname()[1]}"
        report(f"data folder  {data.path}")
        if own_secret:
            access = with_kept_secret(access, data.path, make=True)
        if os.environ.get("MLFLOW_TRACKING_URI"):
            report("MLflow       the one of MLFLOW_TRACKING_URI, which is set in the environment")
        with database(settings, data, report, supervisor.stopping) as (database_url, look_after):
            if not supervisor.stopping.is_set():
                _prepare(settings, database_url)
                data.note_instance(Instance(os.getpid(), url, database_url))
                _start_parts(supervisor, data, settings, access, listener, database_url, logs_to_files=logs_to_files)
                first_use = FirstUse(
                    url, settings.public_url or url, access, wants_fleet=settings.sample_fleet, shows_token=own_secret
                )
                _greet(first_use, started, report, supervisor.stopping)
                try:
                    supervisor.run(look_after)
                finally:
                    report("stopping: answering what is under way")
                    supervisor.stop()
    report("stopped; nothing that was acknowledged is lost")


def check_temporary_folder() -> None:
    """Refuse to start where nothing can write temporary files, which every training does.

    Raises:
        NotAllowed: with what to do.

    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise NotAllowed(
            "no folder for temporary files can be written: mount a tmpfs at /tmp, or set TMPDIR"
        ) from error


def listen(host: str, port: int, *, option: str = "--port") -> socket.socket:
    """Return a socket that listens on ``host`` and ``port``.

    Raises:
        PortTaken: with what to do.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"cannot listen on {host}:{port} ({error.strerror}): stop what uses it (`ss -ltnp 'sport = :{port}'` "
            f"names it) or take another port: telltale serve {option} {port + 10 if port < 65000 else 8010}"
        ) from error
    listener.listen(2048)
    return listener


@contextmanager
def database(
    settings: StandaloneSettings, data: DataFolder, report: Report, stopping: threading.Event
) -> Iterator[tuple[str, list[Callable[[], None]]]]:
    """Yield the database's URL, and what to call at every look to keep an embedded one running."""
    if settings.database_url is not None:
        report("PostgreSQL   the one of DATABASE_URL")
        yield settings.database_url, []
        return
    server = EmbeddedPostgres(data.path, data.logs / "postgres.log")
    trim_log(data.logs / "postgres.log")
    began = time.monotonic()
    first = not server.exists
    if first:
        report("PostgreSQL   making a database (once)")
    if server.folder.parent != data.path:
        report(f"PostgreSQL   its files are in {server.folder}: it cannot live in the data folder")
    try:
        server.start(stopping.is_set)
        report(f"PostgreSQL   ready in {time.monotonic() - began:.1f} s")

        yield server.url, [Revival(server, report, stopping).look_after]
    finally:
        server.stop()


@dataclass
class Revival:
    """Starts a PostgreSQL that ended again, as often as it takes: `/score` goes on without it meanwhile."""

    server: EmbeddedPostgres
    report: Report
    stopping: threading.Event
    _failures: int = 0
    _next: float = 0.0

    def look_after(self) -> None:
        """Start it if it does not run and its wait is over."""
        if self.server.is_running() or time.monotonic() < self._next:
            return
        self.report("PostgreSQL ended; starting it again")
        try:
            self.server.start(self.stopping.is_set)
        except (PostgresFailed, OSError, psycopg.Error) as error:
            self._failures += 1
            wait = min(2.0**self._failures, 30.0)
            self._next = time.monotonic() + wait
            self.report(f"PostgreSQL cannot start, next try in {wait:.0f} s: {error}")
        else:
            self._failures = 0
            self.report("PostgreSQL   ready again")


def _prepare(settings: StandaloneSettings, database_url: str) -> None:
    """Bring the schema up to date and clear what a killed run left."""
    try:
        migrate(database_url)
        if settings.database_url is None:  # the embedded one is ours alone: no worker of an earlier run can be alive
            with psycopg.connect(database_url, **connection_options()) as connection:
                forget_workers(connection)
    except (psycopg.Error, StoreUnavailable) as error:
        raise PostgresFailed(f"the database cannot be used: {error}. Check DATABASE_URL.") from error
    objects = open_objects(settings.object_store_or_folder)
    if isinstance(objects, LocalObjectStore) and settings.object_store is None:
        objects.remove_temporary_files()


def _start_parts(
    supervisor: Supervisor,
    data: DataFolder,
    settings: StandaloneSettings,
    access: AccessSettings,
    listener: socket.socket,
    database_url: str,
    *,
    logs_to_files: bool,
) -> None:
    env = parts_environment(settings, data.path, database_url, sqlalchemy_url(database_url))
    env |= {
        "TELLTALE_HOST": settings.host,
        "TELLTALE_PORT": str(listener.getsockname()[1]),
        "TELLTALE_GRPC_PORT": str(settings.grpc_port_or_next),
        # One machine has no load balancer that must turn away first: Ctrl-C should not take seconds.
        "TELLTALE_DRAIN_SECONDS": os.environ.get("TELLTALE_DRAIN_SECONDS", "0"),
        "TELLTALE_ALLOW_ANONYMOUS": str(settings.allow_anonymous).lower(),
    }
    if access.auth_secret is not None:
        env["TELLTALE_AUTH_SECRET"] = access.auth_secret.get_secret_value()

    def log(name: str) -> Path | None:
        return data.logs / f"{name}.log" if logs_to_files else None

    fd = listener.fileno()
    supervisor.start(Part("predictor", "predictor", env, ("--fd", str(fd)), (fd,), log("predictor")))
    for name, module in _PARTS:
        supervisor.start(Part(name, module, env, log=log(name)))


def _greet(first_use: FirstUse, started: float, report: Report, stopping: threading.Event) -> None:
    """Say when the server is ready, and bring in the sample fleet, beside the main loop."""
    threading.Thread(target=greet, args=(first_use, started, report, stopping), name="first-start", daemon=True).start()


def _shown(host: str) -> str:
    """Return the address to put into a URL for a person on this machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not bound to
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
