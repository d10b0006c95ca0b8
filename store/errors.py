"""What can go wrong in a store.

    StoreError
    ├── StoreUnavailable     for now: PostgreSQL or the object store is gone or full; try again after a while
    ├── ObjectExists         an object of this key is there already, with other content
    ├── ObjectMissing        no object has this key
    ├── SignatureMismatch    a batch's features are not those of its model
    └── KeyInUse             an idempotency key was seen before; its record says with what and how it ended

psycopg's errors (:func:`store.postgres.postgres_errors`) and the operating system's become these at the adapters;
nothing above sees them. No database library is imported here, because scoring needs none.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class StoreError(Exception):
    """Base of the store's errors."""


class StoreUnavailable(StoreError):
    """The store cannot serve now and may soon; ``retry_after`` is in seconds."""

    def __init__(self, detail: str, *, retry_after: int = 2) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class ObjectExists(StoreError):
    """An object of this key exists with other content; objects are written once."""


class ObjectMissing(StoreError):
    """No object has this key."""


class SignatureMismatch(StoreError):
    """A batch's features are not those that its model was first trained with."""

    def __init__(self, model: str, expected: tuple[str, ...]) -> None:
        super().__init__(f"model {model!r} has the features {', '.join(expected)}")
        self.model = model
        self.expected = expected


class KeyInUse(StoreError):
    """An idempotency key was used before."""


_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def file_errors(what: str) -> Iterator[None]:
    """Turn the operating system's errors of a full or failing disk into StoreUnavailable."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreUnavailable(f"the disk is full while writing {what}: free some space", retry_after=30) from error
        raise StoreUnavailable(f"{what} could not be read or written: {error.strerror}", retry_after=10) from error
