"""Waiting for what happens on another thread, in another process or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")


def wait_for(look: Callable[[], _Found | None], what: str = "the condition", seconds: float = 30.0) -> _Found:
    """Return what ``look`` finds, asking until it finds something; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.02)
