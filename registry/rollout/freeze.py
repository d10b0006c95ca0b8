"""Freeze windows: when no rollout starts and no weight rises. PURE."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from registry.api.served_model import FreezeWindow


def frozen_until(windows: Iterable[FreezeWindow], now: datetime) -> datetime | None:
    """Return when the last of the windows that ``now`` lies in ends, or None outside of all.

    A window that has a fault freezes nothing; a condition tells of it. A window begins at wall-clock time in its
    zone; daylight saving is treated as Debian's cron treats it (cronsim).
    """
    ends = [end for window in windows if fault(window) is None and (end := _end(window, now)) is not None]
    return max(ends, default=None)


def fault(window: FreezeWindow) -> str | None:
    """Return what is wrong with a window that the schema lets through, or None."""
    try:
        ZoneInfo(window.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the last of a folder of zones, such as Europe
        return f"there is no time zone {window.time_zone!r}; take an IANA name such as Europe/Berlin"
    try:
        CronSim(window.schedule, datetime(2026, 1, 1))  # noqa: DTZ001 - only its grammar is tried
    except CronSimError as error:
        return f"the schedule {window.schedule!r} is not one of cron: {error}"
    return None


def _end(window: FreezeWindow, now: datetime) -> datetime | None:
    """Return when the window that holds ``now`` ends; a new one may begin before the last has ended."""
    zone = ZoneInfo(window.time_zone)
    # In the hour that comes twice cronsim, asked what was before, forgets what began in its first half.
    last, moments = now, [now]
    while last.astimezone(zone).fold:
        last -= timedelta(minutes=1)
        moments = [now, last]
    ends = [_began(window.schedule, moment, zone) for moment in moments]
    end = max(ends) + timedelta(seconds=window.duration_seconds)
    return end if end > now else None


def _began(schedule: str, moment: datetime, zone: ZoneInfo) -> datetime:
    """Return when a schedule was last due."""
    start: datetime = next(CronSim(schedule, (moment + timedelta(seconds=1)).astimezone(zone), reverse=True))
    return start.astimezone(moment.tzinfo)
