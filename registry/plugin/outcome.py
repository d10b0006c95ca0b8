"""When a rollout that somebody waits for has come out, and how. PURE."""

from __future__ import annotations

from registry.kubernetes.resources import Manifest
from registry.plugin.overview import is_up_to_date, status_of

_ENDS = {"done": ("Healthy", "Baking"), "healthy": ("Healthy",)}


def outcome_of(served_model: Manifest, until: str | None) -> int | None:
    """Return 0 once ``until`` is reached, 1 once it is rejected, and None before.

    A status that is of an older spec says nothing.
    """
    phase = status_of(served_model).get("phase")
    if until is None or not is_up_to_date(served_model):
        return None
    if phase in _ENDS[until]:
        return 0
    return 1 if phase == "Rejected" else None
