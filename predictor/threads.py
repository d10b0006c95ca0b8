"""Where work that would hold the event loop runs: two pools, so that a store that hangs never holds up scoring."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """The pools; ``store`` for what waits on PostgreSQL and disks, ``compute`` for decoding and scoring."""

    def __init__(self, *, store: int = 16, compute: int = 2) -> None:
        self._store = ThreadPoolExecutor(store, "store")
        self._compute = ThreadPoolExecutor(compute, "compute")

    async def store(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function``, which waits on a store, in a thread."""
        return await _run(self._store, lambda: function(*args, **kwargs))

    async def compute(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function``, which computes, in a thread."""
        return await _run(self._compute, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Take no more work; what runs may end."""
        self._store.shutdown(wait=False, cancel_futures=True)
        self._compute.shutdown(wait=False, cancel_futures=True)


async def _run(pool: Executor, function: Callable[[], T]) -> T:
    # The context goes along, so that a log line from the thread carries its request's id.
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(function))
