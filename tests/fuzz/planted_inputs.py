"""Functions with a fault each, for a search to find: they show it to what begins with 0xBA."""

from __future__ import annotations

import os
from collections.abc import Callable


def error(data: bytes) -> bool:
    """Raise what nobody declares."""
    if data[:1] == b"\xba":
        raise ZeroDivisionError(f"planted among {len(data)} bytes")
    return bool(data)


def crash(data: bytes) -> bool:
    """End the process."""
    if data[:1] == b"\xba":
        os.abort()
    return bool(data)


def sound(data: bytes) -> bool:
    """Have no fault."""
    return bool(data)


INPUTS: dict[str, Callable[[bytes], bool]] = {"error": error, "crash": crash, "sound": sound}


def seeds(_name: str) -> list[bytes]:
    """Return one input that shows no fault."""
    return [b"\xbb and more, so that there is something to leave out"]
