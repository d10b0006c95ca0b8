"""Freeze windows, judged by the controller's own rules. PURE. Slow to load: import it only where there are some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim
from pydantic import ValidationError

from registry.api.served_model import FreezeWindow
from registry.plugin.overview import Freeze
from registry.rollout.freeze import fault, frozen_until


def freeze(windows: Iterable[dict[str, Any]], now: datetime) -> Freeze:
    """Return until when it is frozen, and when the next window begins; windows that are not understood do not count."""
    usable = list(_usable(windows))
    starts = [start for window in usable if (start := _next(window, now)) is not None]
    return Freeze(frozen_until(usable, now), min(starts, default=None))


def _usable(windows: Iterable[dict[str, Any]]) -> Iterator[FreezeWindow]:
    for given in windows:
        try:
            window = FreezeWindow.model_validate(given)
        except ValidationError:
            continue
        if fault(window) is None:
            yield window


def _next(window: FreezeWindow, now: datetime) -> datetime | None:
    return next(iter(CronSim(window.schedule, now.astimezone(ZoneInfo(window.time_zone)))), None)
