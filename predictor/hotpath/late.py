"""A part that is built while the server already answers: whoever needs it waits, everyone else does not."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Late(Generic[T]):
    """A value that comes later, once, or fails to; belongs to one event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._failure: BaseException | None = None
        self.value: T | None = None

    @property
    def is_there(self) -> bool:
        """Whether the value has come."""
        return self.value is not None

    def set(self, value: T) -> None:
        """Give the value to everyone who waits."""
        self.value = value
        self._event.set()

    def fail(self, failure: BaseException) -> None:
        """Say that the value will not come."""
        self._failure = failure
        self._event.set()

    async def get(self) -> T:
        """Return the value as soon as it is there; RuntimeError if it could not be built."""
        await self._event.wait()
        if self.value is None:
            raise RuntimeError("a part of the server could not be built; its log says why") from self._failure
        return self.value
