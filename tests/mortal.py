"""Death at any call: a port whose calls are told of right before and right after, and what stands for SIGKILL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, nothing cleans up after it."""


class Port:
    """Lets a port's calls through, and tells ``on_call`` right before and right after each."""

    def __init__(self, port: Any, on_call: Callable[[str], None]) -> None:
        self._port, self._on_call = port, on_call

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._on_call(f"before {name}")
            result = value(*args, **kwargs)
            self._on_call(f"after {name}")
            return result

        return call
