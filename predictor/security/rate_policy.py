"""What a rate limit is, and how clients are told of it. PURE.

A limit is a token bucket: ``rate`` requests a second in the long run, ``burst`` of them at once. Every request costs
one, however many records it has. Clients read the fields ``RateLimit-Policy`` and ``RateLimit`` of
draft-ietf-httpapi-ratelimit-headers-11: quota ``q`` in a window of ``w`` seconds, of which ``r`` requests remain, all
of them again in ``t`` seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from predictor.security.errors import RateLimited, SecurityMisconfigured

Headers = tuple[tuple[bytes, bytes], ...]

# Replicas settle several times a second: a bucket that holds less than this overflows in between.
_LEAST_SECONDS = 0.25
# Finer steps of what remains are not told: an estimate is not that exact, and each step is kept ready as bytes.
_STEPS = 1000
MAX_RETRY_SECONDS = 3600


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Whether a request may pass, and what its answer tells: requests in the bucket, seconds until it is full again.

    ``retry_after`` is 0 for a request that may pass. ``headers`` are for the answer, whatever its status.
    """

    admitted: bool
    limit: int
    remaining: int
    reset: int
    retry_after: int
    headers: Headers


@dataclass(frozen=True)
class RatePolicy:
    """A limit for each subject.

    Args:
        rate: requests a second, in the long run and over all replicas.
        burst: requests at once; None means those of one second. Never less than those of a quarter of a second.

    """

    rate: float
    burst: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no limit."""
        values = (self.rate, self.capacity)
        if not all(math.isfinite(value) and value > 0 for value in values) or self.rate > 1e9:
            raise SecurityMisconfigured("a rate limit and its burst are numbers above 0: to have none, leave them out")

    @property
    def capacity(self) -> float:
        """The most requests that a bucket holds."""
        burst = self.rate if self.burst is None else self.burst
        return max(burst, self.rate * _LEAST_SECONDS, 1.0)


class Verdicts:
    """Every verdict that a policy can give, ready to be sent: making bytes costs more than deciding."""

    def __init__(self, policy: RatePolicy) -> None:
        self._policy = policy
        self._quota = int(policy.capacity)
        window = max(1, math.ceil(policy.capacity / policy.rate))
        self._policy_header = (b"ratelimit-policy", f'"default";q={self._quota};w={window}'.encode())
        self.scale = min(1.0, _STEPS / policy.capacity)
        self._refusing: dict[int, Verdict] = {}
        self.passing = [self._passing(step) for step in range(int(policy.capacity * self.scale) + 1)]

    def refusing(self, seconds: float) -> Verdict:
        """Return the verdict on a request that might pass in so many seconds."""
        wait = max(1, math.ceil(min(seconds, MAX_RETRY_SECONDS)))
        known = self._refusing.get(wait)
        if known is None:
            known = Verdict(False, self._quota, 0, wait, wait, self._headers(0, wait))
            self._refusing[wait] = known
        return known

    def _passing(self, step: int) -> Verdict:
        remaining = min(self._quota, int(step / self.scale))
        reset = math.ceil((self._quota - remaining) / self._policy.rate)
        return Verdict(True, self._quota, remaining, reset, 0, self._headers(remaining, reset))

    def _headers(self, remaining: int, reset: int) -> Headers:
        return (self._policy_header, (b"ratelimit", f'"default";r={remaining};t={reset}'.encode()))


def refused(policy: RatePolicy, verdict: Verdict) -> RateLimited:
    """Return the error that tells a client to wait."""
    return RateLimited(rate=policy.rate, retry_after=verdict.retry_after, headers=verdict.headers)
