"""Two settings of glibc's malloc, for a process of many threads that takes large bodies again and again.

*Arenas.* By default each of up to eight threads per core allocates from an arena of its own, and what is freed stays
with its arena. This process has forty threads, most of which do a little now and then: after a few hundred thousand
requests of all kinds 55 MB were held so, against 12 MB with two arenas. Python's own lock lets one thread allocate at a
time, so more arenas gain next to nothing.

*Thresholds.* By default what is large comes from the kernel and goes back to it, page by page, each time: for a body of
100,000 rows that was a sixth of the time to score them. Up to 32 MB free memory is kept instead.
"""

from __future__ import annotations

import ctypes
import sys

# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_ARENAS = 2
# The most that glibc takes for blocks that do not come from the kernel one by one.
_KEPT_BYTES = 32 << 20


def limit_arenas() -> bool:
    """Have all threads share two arenas; before there are threads. False where malloc has no such thing."""
    return _set(_M_ARENA_MAX, _ARENAS)


def keep_large_blocks() -> bool:
    """Have freed blocks used again rather than given back. False where malloc has no such thing."""
    return _set(_M_MMAP_THRESHOLD, _KEPT_BYTES) and _set(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def _set(parameter: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl, for one, has none
    return mallopt is not None and bool(mallopt(parameter, value))
