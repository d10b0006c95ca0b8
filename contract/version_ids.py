"""Model version ids: a UTC time stamp of 14 digits, ``YYYYMMDDHHMMSS``.

The id is what ``/ingest`` returns and what ``/score`` and V2 call a version. Two versions of one model never share
an id: the later one takes the next free second, so ids sort in the order in which batches were accepted.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_FORMAT = "%Y%m%d%H%M%S"
_PATTERN = re.compile(r"[0-9]{14}")


def next_version_id(now: datetime, newest: str | None) -> str:
    """Return the id for a version made at ``now``, after ``newest`` (the model's newest id, or None)."""
    candidate = now.astimezone(UTC).replace(microsecond=0)
    if newest is not None:
        candidate = max(candidate, parse_version_id(newest) + timedelta(seconds=1))
    return candidate.strftime(_FORMAT)


def is_version_id(text: str) -> bool:
    """Tell whether ``text`` is 14 digits that name a real second."""
    try:
        parse_version_id(text)
    except ValueError:
        return False
    return True


def parse_version_id(text: str) -> datetime:
    """Return the UTC time that a version id names; ValueError if it names none."""
    if not _PATTERN.fullmatch(text):
        raise ValueError(f"a model version is 14 digits, YYYYMMDDHHMMSS in UTC; got {text!r}")
    return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)
