"""Request ids: the client's own where it is a sane one, else a new one that costs next to nothing."""

from __future__ import annotations

import itertools
import uuid

HEADER = b"x-request-id"
LONGEST_ID = 128


class RequestIds:
    """Gives ids of 32 hexadecimal digits: half of them random for the process, half a count."""

    def __init__(self) -> None:
        self._prefix = uuid.uuid4().hex[:16]
        self._numbers = itertools.count(1)

    def take(self, given: bytes | None) -> str:
        """Return the id that the client gave, if it is printable ASCII of bearable length, else a new one."""
        if given is not None and 0 < len(given) <= LONGEST_ID and given.isascii():
            text = given.decode("ascii")
            if text.isprintable():
                return text
        return f"{self._prefix}{next(self._numbers):016x}"
