"""Quotas shared by replicas: the port to the token buckets from which each replica leases ahead. PURE.

A bucket fills at its rate by one clock, the source's; every request admitted anywhere is taken from it once, before (a
lease) or after (a debt). So whatever replicas guess in between, their sum is right. No database library is
imported here, because scoring needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class BucketShape:
    """A bucket: ``rate`` in requests a second, ``capacity`` in requests, ``memory_seconds`` for what demand means."""

    rate: float
    capacity: float
    memory_seconds: float = 1.0


class Ask(NamedTuple):
    """What a replica wants for a subject.

    ``want`` is in requests, below 0 to give back. ``owed`` of them (0 to ``want``) were admitted already and are
    granted in any case. ``demand`` is the number of requests seen since the last ask, admitted or not.
    """

    subject: str
    want: float
    owed: float
    demand: float


class Grant(NamedTuple):
    """What a subject got: ``granted`` requests; ``left`` in the bucket; ``demand`` of all replicas, a second."""

    subject: str
    granted: float
    left: float
    demand: float


class QuotaSource(Protocol):
    """Where quotas are leased from. Blocking, for a thread."""

    def settle(self, shape: BucketShape, asks: Sequence[Ask]) -> list[Grant]:
        """Settle asks, of which no two have the same subject; StoreUnavailable if that cannot be done now."""

    def forget_full(self, shape: BucketShape) -> int:
        """Drop buckets that are full and idle, which changes nothing but space; returns how many."""
