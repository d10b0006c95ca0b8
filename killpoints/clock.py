"""The time of day, moved by hand, so that an hour of a freeze window takes no time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class HandClock:
    """A clock that stands still; it begins with the cluster's own time, since objects are stamped by that."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime.now(UTC)

    def __call__(self) -> datetime:
        """Return the time of day."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self._now += timedelta(seconds=seconds)
