"""Requests that a client sends before it has the answers to those before them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from uvicorn.protocols.http.flow_control import FlowControl

_MOST_WAITING = 32


class PatientFlow(FlowControl):
    """Reads nothing while many requests wait behind another: uvicorn reads on with each answer, which has no bound."""

    def __init__(self, transport: asyncio.Transport, waiting: Collection[object]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, unless too many requests wait."""
        if len(self._waiting) <= _MOST_WAITING:  # some may: only reading tells that a client left
            super().resume_reading()
