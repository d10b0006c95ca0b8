"""Latencies and their percentiles. PURE."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the least sample that at least ``share`` of all are not above; ValueError if there is none."""
    if not samples:
        raise ValueError("there are no samples")
    return sorted(samples)[max(math.ceil(share * len(samples)), 1) - 1]


def said(samples: Sequence[float]) -> str:
    """Return samples in seconds as a line for people."""
    parts = (percentile(samples, share) * 1e3 for share in (0.5, 0.99, 1.0))
    return "p50 {:.0f} ms, p99 {:.0f} ms, most {:.0f} ms".format(*parts) + f" of {len(samples)}"
