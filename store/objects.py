"""The port for object storage: what Telltale needs of a folder or a bucket, and no more.

Objects are immutable. They are written once, by a conditional create, and found by keys such as
``models/default/20240115100000/manifest.json``. A prefix ends with a slash, so ``v1/`` never matches ``v10/``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing has it: its key, its size in bytes, and when it was written by the store's clock."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a writer left that was killed before its object was there: for which key, a name of its own, since when."""

    key: str
    id: str
    since: datetime


class ObjectStore(Protocol):
    """A folder or a bucket of write-once objects."""

    def create(self, key: str, data: bytes) -> None:
        """Write a new object durably; it is there whole or not at all when this returns or fails.

        Creating again what is there with the same content does nothing.

        Raises:
            ObjectExists: the key is taken by other content.
            StoreUnavailable: it could not be written now.

        """

    def read(self, key: str, *, digest: str | None = None, most_bytes: int | None = None) -> bytes:
        """Return an object's content, checked against ``digest`` where one is given.

        Raises:
            ObjectMissing: no object has this key.
            CorruptArtifact: the content has another digest, or is larger than ``most_bytes``; then it is not read.
            StoreUnavailable: it could not be read now.

        """

    def exists(self, key: str) -> bool:
        """Tell whether an object has this key; StoreUnavailable if that cannot be told now."""

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names that follow ``prefix`` (which ends with a slash) up to the next slash, sorted.

        That is cheap however much lies under each. One whose last object was deleted may still be among them.
        """

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield all keys under ``prefix`` (which ends with a slash, or is empty for all), sorted."""

    def listed(self, prefix: str) -> Iterator[StoredObject]:
        """Yield what is under ``prefix``, folder after folder, a page at a time."""

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

    def unfinished(self) -> Iterator[Unfinished]:
        """Yield the writes that have begun and not ended, dead ones and those under way."""

    def abandon(self, unfinished: Unfinished) -> None:
        """Remove what an unfinished write has left so far, if it is there; its writer, if alive, fails."""


def is_key(key: str) -> bool:
    """Tell whether ``key`` is one that every store takes."""
    return _KEY.fullmatch(key) is not None


def checked_key(key: str) -> str:
    """Return ``key`` if it is one that every store takes, else raise ValueError."""
    if not is_key(key):
        raise ValueError(f"an object's key is words of A-Z, a-z, 0-9, '.', '_' and '-' between slashes; got {key!r}")
    return key


def checked_prefix(prefix: str) -> str:
    """Return ``prefix`` if it ends with a slash, or is empty, else raise ValueError."""
    if prefix and (not prefix.endswith("/") or not _KEY.fullmatch(prefix[:-1])):
        raise ValueError(f"a prefix ends with a slash; got {prefix!r}")
    return prefix
