from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

Until = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
def until_async() -> Until:
    """Wait for a condition on the event loop; fails after ten seconds."""

    async def until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            await asyncio.sleep(0.005)

    return until
