"""Object storage in a local folder, durable through a crash of the machine.

An object is written under a temporary name, flushed to the disk and then linked to its own name: the link fails if the
name is taken, which is the conditional create. The folder that holds it is flushed too, or the name could be lost.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from contract.digests import check_digest
from contract.errors import CorruptArtifact
from store.errors import ObjectExists, ObjectMissing, file_errors
from store.objects import StoredObject, Unfinished, checked_key, checked_prefix

_TEMPORARY = ".tmp"
# Whoever deletes the last object of a folder removes the folder, perhaps from under one that is just being written.
_TRIES = 10


class LocalObjectStore:
    """An :class:`store.objects.ObjectStore` in the folder ``root``, which is made if needed.

    Nothing is written into it before the first object is, so that who only reads may have it read-only.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        with file_errors(str(root)):
            root.mkdir(parents=True, exist_ok=True)

    def create(self, key: str, data: bytes) -> None:
        """Write a new object (see the port)."""
        path = self._root / checked_key(key)
        temporary = self._root / _TEMPORARY / uuid.uuid4().hex
        with file_errors(key):
            try:
                temporary.parent.mkdir(exist_ok=True)
                _write_durably(temporary, data)
                self._link(temporary, path)
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
        """Yield the names directly under ``prefix`` (see the port)."""
        with file_errors(prefix):
            try:
                entries = sorted((self._root / checked_prefix(prefix)).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return
            yield from (entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield all keys under ``prefix``, sorted."""
        start, above = self._root / checked_prefix(prefix), f"{self._root}/"
        with file_errors(prefix):
            found = (entry.path.removeprefix(above) for entry in _walk(start))
            yield from sorted(key for key in found if not key.startswith(f"{_TEMPORARY}/"))

    def listed(self, prefix: str) -> Iterator[StoredObject]:
        """Yield what is under ``prefix`` (see the port)."""
        start = self._root / checked_prefix(prefix)
        with file_errors(prefix):
            for entry in _walk(start):
                path = Path(entry.path).relative_to(self._root)
                if path.parts[0] != _TEMPORARY:
                    with suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        yield StoredObject(path.as_posix(), found.st_size, _time(found.st_mtime))

    def delete(self, key: str) -> None:
        """Remove an object, if it is there, and the folders that are empty then."""
        path = self._root / checked_key(key)
        with file_errors(key), suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
            for folder in path.parents:
                if folder == self._root or not _is_removed(folder):
                    _flush_folder(folder)
                    return

    def unfinished(self) -> Iterator[Unfinished]:
        """Yield the temporary files (see the port); nobody knows any more for which keys they were."""
        with file_errors(_TEMPORARY):
            for entry in _walk(self._root / _TEMPORARY):
                with suppress(FileNotFoundError):
                    yield Unfinished("", entry.name, _time(entry.stat(follow_symlinks=False).st_mtime))

    def abandon(self, unfinished: Unfinished) -> None:
        """Remove a temporary file (see the port)."""
        with file_errors(_TEMPORARY):
            (self._root / _TEMPORARY / checked_key(unfinished.id)).unlink(missing_ok=True)

    def remove_temporary_files(self) -> None:
        """Remove what a killed process left half-written; only for a process that has the folder to itself."""
        with file_errors(_TEMPORARY):
            for path in (self._root / _TEMPORARY).glob("*"):
                path.unlink(missing_ok=True)

    def _link(self, temporary: Path, path: Path) -> None:
        """Give a file its name, durably; FileExistsError if that is taken."""
        for attempt in range(1, _TRIES + 1):
            try:
                self._make_folder(path.parent)
                os.link(temporary, path)
            except FileNotFoundError:
                if attempt == _TRIES:
                    raise
            else:
                _flush_folder(path.parent)
                return

    def _make_folder(self, folder: Path) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            # It was there, and was gone when pathlib looked what it is. A caller would take this for a taken key.
            raise FileNotFoundError(errno.ENOENT, "removed while it was made", str(folder)) from error
        for path in missing:
            _flush_folder(path.parent)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files under a folder in the order of their names, with no more than a folder's names in memory."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        else:
            yield entry


def _is_removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
