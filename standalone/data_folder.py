"""The data folder: one instance at a time, and a note for other commands on how to reach it.

The health check imports this module every few seconds: keep it light.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from standalone.errors import DataFolderClosed, DataFolderInUse

_INSTANCE_FILE = "instance.json"


@dataclass(frozen=True)
class Instance:
    """A running instance: its process, its HTTP address and its database (with the password)."""

    pid: int
    url: str
    database_url: str


class DataFolder:
    """The folder ``path``, made if needed; others may pass through it but not look into it.

    Raises:
        DataFolderClosed: we cannot write there; the message says what to do.

    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        try:
            self._make()
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            raise DataFolderClosed(_closed(self.path, error)) from error

    def _make(self) -> None:
        if not self.path.exists():
            self.path.mkdir(parents=True)
            # PostgreSQL of a root user runs as somebody else, who must be able to pass.
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for name in ("logs", "objects", "mlflow"):
            (self.path / name).mkdir(exist_ok=True, mode=0o700)
            if not os.access(self.path / name, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path / name))
        probe = self.path / "write.probe"
        probe.touch()
        probe.unlink()

    @property
    def logs(self) -> Path:
        """Where the parts' logs are."""
        return self.path / "logs"

    @property
    def _instance_file(self) -> Path:
        return self.path / _INSTANCE_FILE

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for ourselves; the lock ends with this process, however it ends.

        Raises:
            DataFolderInUse: another instance holds it; the message names it.

        """
        with (self.path / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataFolderInUse(self._in_use()) from None
            try:
                yield
            finally:
                self._instance_file.unlink(missing_ok=True)

    def note_instance(self, instance: Instance) -> None:
        """Tell other commands of ours how to reach the running instance; only we can read it."""
        temporary = self._instance_file.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(asdict(instance)))
        temporary.rename(self._instance_file)

    def instance(self) -> Instance | None:
        """Return the running instance, if its note is there."""
        return read_instance(self.path)

    def _in_use(self) -> str:
        other = self.instance()
        who = "another Telltale" if other is None else f"another Telltale (process {other.pid}, {other.url})"
        return (
            f"{who} holds the data folder {self.path}: use that one, stop it, or start this one with another folder: "
            "telltale serve --data ./other --port 8010"
        )


def read_instance(data: Path) -> Instance | None:
    """Return the instance that runs on the data folder ``data``, if its note is there and we may read it."""
    try:
        return Instance(**json.loads((data / _INSTANCE_FILE).read_text()))
    except (FileNotFoundError, PermissionError, ValueError, TypeError):
        return None


def _closed(path: Path, error: OSError) -> str:
    if error.errno == errno.EROFS:
        return f"the data folder {path} is read-only: mount a volume there, or name another with --data"
    folder, owner = _nearest(Path(error.filename))
    user = os.geteuid()
    return (
        f"user {user} cannot write the data folder {path} ({error.filename}: {error.strerror}); {folder} is user"
        f" {owner}'s. Give it to this user (`chown -R {user} FOLDER`, on the machine that mounts it), or start as its"
        f" owner (for a container `--user {owner}:0`)"
    )


def _nearest(path: Path) -> tuple[Path, int]:
    """Return the first of ``path`` and its parents that we can see, and the number of its owner."""
    for parent in (path, *path.parents):
        try:
            return parent, parent.stat().st_uid
        except OSError:
            continue
    return path, 0
