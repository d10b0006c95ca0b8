"""Object storage in a local folder, durable through a crash of the machine.

An object is written under a temporary name, flushed to the disk and then linked to its own name: the link fails if the
name is taken, which is the conditional create. The folder that holds it is flushed too, or the name could be lost.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from contract.digests import check_digest
from contract.errors import CorruptArtifact
from store.errors import ObjectExists, ObjectMissing, file_errors
from store.objects import checked_key, checked_prefix

_TEMPORARY = ".tmp"


class LocalObjectStore:
    """An :class:`store.objects.ObjectStore` in the folder ``root``, which is made if needed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        with file_errors(str(root)):
            (root / _TEMPORARY).mkdir(parents=True, exist_ok=True)

    def create(self, key: str, data: bytes) -> None:
        """Write a new object (see the port)."""
        path = self._root / checked_key(key)
        temporary = self._root / _TEMPORARY / uuid.uuid4().hex
        with file_errors(key):
            try:
                _write_durably(temporary, data)
                self._make_folder(path.parent)
                os.link(temporary, path)
                _flush_folder(path.parent)
            except FileExistsError:
                if path.read_bytes() != data:
                    raise ObjectExists(f"{key} exists with other content, and objects are written once") from None
            finally:
                temporary.unlink(missing_ok=True)

    def read(self, key: str, *, digest: str | None = None, most_bytes: int | None = None) -> bytes:
        """Return an object's content (see the port)."""
        path = self._root / checked_key(key)
        with file_errors(key):
            try:
                size = path.stat().st_size
                if most_bytes is not None and size > most_bytes:
                    raise CorruptArtifact(f"{key} has {size} bytes; at most {most_bytes} belong to it")
                data = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                raise ObjectMissing(f"there is no object {key}") from None
        if digest is not None:
            check_digest(data, digest, key)
        return data

    def exists(self, key: str) -> bool:
        """Tell whether an object has this key."""
        with file_errors(key):
            return (self._root / checked_key(key)).is_file()

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names directly under ``prefix`` that hold objects, sorted."""
        with file_errors(prefix):
            try:
                entries = sorted((self._root / checked_prefix(prefix)).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return
            yield from (entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield all keys under ``prefix``, sorted."""
        start = self._root / checked_prefix(prefix)
        with file_errors(prefix):
            found = (path.relative_to(self._root) for path in start.rglob("*") if path.is_file())
            yield from sorted(path.as_posix() for path in found if path.parts[0] != _TEMPORARY)

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        with file_errors(key):
            (self._root / checked_key(key)).unlink(missing_ok=True)

    def remove_temporary_files(self) -> None:
        """Remove what a killed process left half-written; only for a process that has the folder to itself."""
        with file_errors(_TEMPORARY):
            for path in (self._root / _TEMPORARY).iterdir():
                path.unlink(missing_ok=True)

    def _make_folder(self, folder: Path) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            _flush_folder(path.parent)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
