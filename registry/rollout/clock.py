"""Times in a status that a clock which was ahead has left there. PURE.

The time of day is set by others, and replicas have their own. What began in the future began now at the latest, and
what is to last for a time ends within that time from now: else a clock that was a day ahead would, once it is put
right, hold a rollout for a day. A clock that is ahead ends waits early, and nobody can tell; no gate passes by that.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from registry.rollout.draft import Draft

_BEGINNINGS = ("step_started_at", "ready_at", "traffic_since", "unavailable_since", "waits_since")


def mend(draft: Draft) -> None:
    """Bring times that cannot be to where they can."""
    attempt, rollback = draft.status.attempt, draft.snapshot.spec.rollback
    if attempt is not None:
        found = {name: getattr(attempt, name) for name in _BEGINNINGS}
        ahead = {name: draft.now for name, began in found.items() if began is not None and began > draft.now}
        if ahead:
            draft.set_attempt(**ahead)
    window, warm = rollback.auto_window_seconds, max(rollback.keep_warm_seconds, rollback.auto_window_seconds)
    for name, seconds in (("baking_until", window), ("warm_until", warm)):
        until: datetime | None = getattr(draft.status, name)
        if until is not None and until > (latest := draft.now + timedelta(seconds=seconds)):
            draft.set(**{name: latest})
