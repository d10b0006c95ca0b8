"""The buckets of our histograms, and turning counts into what Prometheus wants. PURE.

A tally keeps one count for each bucket, the last for what is beyond all bounds. Prometheus' buckets are cumulative and
hold their bound (``le``), which is what ``bisect_left`` into the bounds gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

# Seconds, from a lone record (tens of microseconds) to an ingest that waits for its training.
LATENCY_BOUNDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
# The decision function lies within ±0.5 and turns anomalous below 0, where the buckets are finest.
SCORE_BOUNDS = (-0.4, -0.3, -0.2, -0.15, -0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)


def cumulative(bounds: Sequence[float], counts: Iterable[int]) -> list[tuple[str, float]]:
    """Return ``(le, count)`` for each bucket; ``counts`` has one more than ``bounds``."""
    names = [*(str(bound) for bound in bounds), "+Inf"]
    return [(name, float(count)) for name, count in zip(names, accumulate(counts), strict=True)]


def added(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """Return the sums of counts, bucket by bucket."""
    return [a + b for a, b in zip(left, right, strict=True)]
