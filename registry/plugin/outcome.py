"""When a rollout that somebody waits for has come out, and how. PURE."""

from __future__ import annotations

from registry.kubernetes.resources import Manifest
from registry.plugin.overview import condition_of, is_up_to_date, status_of

_ENDS = {"done": ("Healthy", "Baking"), "healthy": ("Healthy",)}


def outcome_of(served_model: Manifest, until: str | None) -> int | None:
    """Return 0 once what is wanted serves as ``until`` says, 1 once it will not come by itself, and None before.

    A status that is of an older spec says nothing, and neither does a phase while it is not known what is wanted: it is
    that of what was wanted before. A spec that is suspended may mean something other than what serves.
    """
    status, stalled = status_of(served_model), condition_of(served_model, "Stalled")
    phase, resolved = status.get("phase"), condition_of(served_model, "Resolved").get("status")
    if until is None or not is_up_to_date(served_model):
        return None
    if stalled.get("status") == "True" and stalled.get("reason") != "Rejected":
        return 1
    if resolved == "Unknown":
        return None
    if phase == "Rejected":
        return 1
    wanted = (status.get("resolved") or {}).get("revision")
    if resolved == "False" or wanted != status.get("stableRevision"):
        return None
    return 0 if phase in _ENDS[until] else None
