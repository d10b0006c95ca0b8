"""A PostgreSQL server of our own: made at first start, stopped with us, and durable through any kill.

It listens on loopback with a password, in its own session, so that Ctrl-C reaches us first and it stops last. Should we
be killed, the kernel asks it to stop; should it be killed too, the next start recovers its log.
"""

from __future__ import annotations

import logging
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from standalone.child import start_child
from standalone.errors import PostgresFailed
from standalone.kept_secret import make_secret, read_secret
from standalone.postgres_home import PostgresHome, find_home

_log = logging.getLogger(__name__)

_NAME = "telltale"
_PASSWORD_BYTES = 24
# Crash recovery replays at most one checkpoint's worth of log; this is far beyond what that takes here.
_START_SECONDS = 60.0
_RESTART_SECONDS = 20.0
_STOP_SECONDS = 6.0


class EmbeddedPostgres:
    """One cluster in (or noted in) a data folder, which the caller has to itself.

    Args:
        data_folder: Telltale's data folder.
        log_file: where the server's log goes.

    """

    def __init__(self, data_folder: Path, log_file: Path) -> None:
        self._data_folder = data_folder
        self._log_file = log_file
        self._home: PostgresHome | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def folder(self) -> Path:
        """Where the cluster lives."""
        return self._found_home().folder

    @property
    def url(self) -> str:
        """The URL of our database in it."""
        return f"postgresql://{_NAME}:{self._password()}@127.0.0.1:{self._port}/{_NAME}"

    @property
    def exists(self) -> bool:
        """Whether the cluster was made by an earlier start."""
        return (self.folder / "PG_VERSION").exists()

    def start(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Make the cluster if needed and start the server; returns when it takes connections.

        A server that is started again keeps its port, which others know.

        Args:
            cancelled: asked again and again whether to give up.

        Raises:
            PostgresFailed: it cannot start (the message ends with its own words), or was cancelled.

        """
        home = self._found_home()
        self._password()  # without it nobody could use the server
        if not self.exists:
            self._make_cluster(home)
        self._stop_stray(home)
        again = self._port != 0
        deadline = time.monotonic() + (_RESTART_SECONDS if again else _START_SECONDS)
        if not again:
            self._port = _free_port()
        while not self._started(home, deadline, cancelled):
            # A killed server's last backends may hold its shared memory for a moment, or the port was taken.
            time.sleep(0.2)
            if not again:
                self._port = _free_port()
        self._make_database()

    def is_running(self) -> bool:
        """Tell whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop the server: open transactions are rolled back, everything committed is on the disk."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, none
            process.send_signal(number)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _log.warning("PostgreSQL did not stop at %s", number.name)
            else:
                return

    def _found_home(self) -> PostgresHome:
        if self._home is None:
            self._home = find_home(self._data_folder)
        return self._home

    def _password(self) -> str:
        """Return the database user's password, made at first use; only we can read its file."""
        path = self._data_folder / "postgres.password"
        password = read_secret(path)
        if password is None and self.exists:
            raise PostgresFailed(f"{path} is gone or empty, and it is the only key to {self.folder}: restore it")
        return make_secret(path, _PASSWORD_BYTES) if password is None else password

    def _make_cluster(self, home: PostgresHome) -> None:
        """Run initdb beside the final place and move it there, so that a half-made cluster is never used."""
        nest = home.folder.with_name("postgres.new")
        shutil.rmtree(nest, ignore_errors=True)
        nest.mkdir(mode=0o700)
        home.give(nest)
        password_file = nest / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password())
        home.give(password_file)
        home.run(
            "initdb", "--pgdata", str(nest / "cluster"), "--username", _NAME, "--pwfile", str(password_file),
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-instructions",
        )  # fmt: skip
        (nest / "cluster").rename(home.folder)
        shutil.rmtree(nest)

    def _stop_stray(self, home: PostgresHome) -> None:
        """Stop a server that an earlier, killed instance left on this cluster; we hold the data folder's lock."""
        note = home.folder / "postmaster.pid"
        if not note.exists():
            return
        if not _may_be_its_server(note, home.folder):
            note.unlink()  # its server is dead, but PostgreSQL would take whoever has the number now for it
            return
        done = home.run(
            "pg_ctl", "stop", "--pgdata", str(home.folder), "--mode", "fast", "--timeout", "20", check=False
        )
        _log.info("a PostgreSQL of an earlier run: %s", (done.stdout or done.stderr).strip())

    def _started(self, home: PostgresHome, deadline: float, cancelled: Callable[[], bool]) -> bool:
        """Start the server process and wait until it answers; False if it ended and another try makes sense."""
        with self._log_file.open("ab") as log:
            self._process = start_child(
                [home.programs / "postgres", "-D", home.folder, *_options(self._port)],
                output=log,
                env={"LC_ALL": "C", "TZ": "UTC"},
                on_parent_death=signal.SIGINT,
                own_session=True,
                user=home.user,
                group=home.group,
            )
        while self._process.poll() is None:
            if self._answers():
                return True
            if time.monotonic() > deadline or cancelled():
                self.stop()
                raise PostgresFailed(f"PostgreSQL did not answer in time:\n{self._last_words()}")
            time.sleep(0.05)
        if time.monotonic() > deadline or cancelled() or not self._may_pass():
            raise PostgresFailed(f"PostgreSQL ended at once; its log {self._log_file} says:\n{self._last_words()}")
        return False

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url_of("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _url_of(self, database: str) -> str:
        return self.url.removesuffix(_NAME) + database

    def _make_database(self) -> None:
        with psycopg.connect(self._url_of("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_NAME,)).fetchone()
            if known is None:
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(_NAME)))

    def _may_pass(self) -> bool:
        words = self._last_words()
        return any(text in words for text in ("pre-existing shared memory", "Address already in use", "lock file"))

    def _last_words(self) -> str:
        lines = self._log_file.read_text(errors="replace").splitlines()
        return "\n".join(lines[-12:])


def _options(port: int) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 60,
        "shared_buffers": "64MB",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "log_min_messages": "warning",
    }
    return [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]


def _may_be_its_server(note: Path, folder: Path) -> bool:
    """Tell whether the process that ``postmaster.pid`` names can be the server of the cluster in ``folder``.

    Numbers of processes are given out again after a restart of the machine. A server works in its cluster's folder, and
    a dead one that nobody collected (a zombie) works nowhere. Where the system cannot tell, pg_ctl has to.
    """
    words = note.read_text().split()
    if not words or not words[0].isdigit():
        return False
    if not Path("/proc/self/cwd").exists():
        return True
    try:
        return Path(f"/proc/{words[0]}/cwd").resolve(strict=True) == folder.resolve()
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
