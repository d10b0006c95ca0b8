"""The data folder: one instance at a time, and a note for other commands on how to reach it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from standalone.errors import DataFolderInUse


@dataclass(frozen=True)
class Instance:
    """A running instance: its process, its HTTP address and its database (with the password)."""

    pid: int
    url: str
    database_url: str


class DataFolder:
    """The folder ``path``, made if needed; others may pass through it but not look into it."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        if not self.path.exists():
            self.path.mkdir(parents=True)
            # PostgreSQL of a root user runs as somebody else, who must be able to pass.
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for name in ("logs", "objects", "mlflow"):
            (self.path / name).mkdir(exist_ok=True, mode=0o700)

    @property
    def logs(self) -> Path:
        """Where the parts' logs are."""
        return self.path / "logs"

    @property
    def _instance_file(self) -> Path:
        return self.path / "instance.json"

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
        try:
            return Instance(**json.loads(self._instance_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _in_use(self) -> str:
        other = self.instance()
        who = "another Telltale" if other is None else f"another Telltale (process {other.pid}, {other.url})"
        return (
            f"{who} holds the data folder {self.path}: use that one, stop it, or start this one with another folder: "
            "telltale serve --data ./other --port 8010"
        )
