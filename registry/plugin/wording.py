"""Times, spans and limits as people read them. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def span(length: timedelta | float) -> str:
    """Return a span in its two largest units: 45 s, 5 min, 1 h 30 min, 2 d 4 h."""
    seconds = max(0, int(length.total_seconds() if isinstance(length, timedelta) else length))
    if seconds == 0:
        return "0 s"
    first = next(place for place, (_, size) in enumerate(_UNITS) if seconds >= size)
    parts = []
    for unit, size in _UNITS[first : first + 2]:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts)


def age(length: timedelta) -> str:
    """Return a span in its largest unit alone."""
    return " ".join(span(length).split(" ")[:2])


def short_digest(digest: str) -> str:
    """Return enough of a digest to tell it from others: sha256:1f2e3d4c."""
    kind, colon, digits = digest.rpartition(":")
    return f"{kind}{colon}{digits[:8]}"


def limits(gate: Mapping[str, Any]) -> str:
    """Return what a gate demands: `recall >= 0.8`, or `<= 0.01: rate(errors[2m])`."""
    mlflow, prometheus = gate.get("mlflow"), gate.get("prometheus")
    asked: Mapping[str, Any] = mlflow or prometheus or {}
    what = asked.get("metric") or " ".join(str(asked.get("query", "")).split())
    demands = [
        f"{sign} {asked[name]:g}{after}"
        for name, sign, after in (
            ("min", ">=", ""),
            ("max", "<=", ""),
            ("maxIncrease", "<= stable +", ""),
            ("maxDecrease", ">= stable -", ""),
        )
        if asked.get(name) is not None
    ]
    samples = f", from {asked['minimumSamples']} samples on" if asked.get("minimumSamples") else ""
    limit = " and ".join(demands)
    # A query may be long: what it must keep to comes first, since the end is what a narrow terminal cuts off.
    return f"{limit}{samples}: {what}".strip() if prometheus else f"{what} {limit}".strip()
