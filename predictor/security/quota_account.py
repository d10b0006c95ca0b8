"""What one replica knows of one subject's quota, and the arithmetic of it. PURE: the time is passed in.

An account has *credit*, leased ahead, and may go into *debt* down to a floor: its share of what was left in the shared
bucket, by how much of the subject's demand comes here. What it takes while the bucket is away (*alone*) it remembers,
and pays back once the bucket is there again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from store.quotas import Ask, Grant

# Settled floats of the database and of sums here differ in the last digits; a whole request is still whole.
_ROUNDING = 1e-6
_SMOOTHING = 0.25
# After so many intervals without a request leases are no longer renewed, and what is beyond a request or two goes back.
_QUIET_INTERVALS = 3


@dataclass(frozen=True)
class LimiterConfig:
    """How a replica leases.

    Args:
        interval: seconds between two settlements of a busy subject.
        horizon: seconds of demand that are leased ahead.
        hold: seconds without a request after which leases are given back.
        memory: seconds over which demand is averaged to tell shares.
        replicas: how many replicas to assume for a subject of which no share is known yet.
        is_shared: whether the quotas are settled with other replicas' at all.
        max_subjects: how many subjects are kept, about; the least recently seen are forgotten first.

    """

    interval: float = 0.1
    horizon: float = 0.2
    hold: float = 1.0
    memory: float = 1.0
    replicas: int = 1
    is_shared: bool = True
    max_subjects: int = 50_000


class Terms(NamedTuple):
    """What holds for all accounts of a limiter: ``rate`` in requests a second, ``capacity`` in requests."""

    rate: float
    capacity: float
    config: LimiterConfig


class Account:
    """One subject's account; times are those of ``now``.

    Args:
        terms: what holds for all of them.
        name: the subject.
        now: when its first request comes.
        allowance: how far credit may fall before the first settlement.
        share: this replica's part of the limit until then.

    """

    __slots__ = (
        "active", "asked", "credit", "demand", "floor", "is_new", "left", "name", "recent", "seen", "self_granted",
        "settled", "share", "terms", "told", "unreported",
    )  # fmt: skip

    def __init__(self, terms: Terms, name: str, now: float, *, allowance: float, share: float) -> None:
        self.terms = terms
        self.name = name
        self.credit = 0.0  # requests leased and not used; below 0, used and not settled
        self.floor = -allowance  # how far credit may fall
        self.left = terms.capacity  # requests in the shared bucket, when that was known last
        self.told = now  # when that was
        self.share = share  # this replica's part of the limit
        self.demand = 0.0  # requests a second that settlements told of, averaged
        self.settled = now  # when the last settlement was
        self.asked = 0  # requests since the subject was looked at last
        self.recent = 0.0  # requests a second until then
        self.seen = now  # when it was looked at last and had requests
        self.unreported = 0  # requests that no settlement has told of
        self.self_granted = 0.0  # credit taken while alone and not settled
        self.is_new = True  # whether no settlement came yet
        self.active = False  # whether it is in the queue of those to look at

    def may_fall(self, credit: float, now: float) -> bool:
        """Lower the floor by what must have come into the bucket since, if nobody asked for a while."""
        idle = now - self.told
        if idle >= self.terms.config.hold:
            expected = min(self.terms.capacity, self.left + self.terms.rate * idle)
            self.floor = min(self.floor, -_headroom(expected, self.share))
            self.left = expected
            self.told = now
        return credit >= self.floor

    def look(self, now: float) -> None:
        """Count the requests since the last look."""
        self.recent = self.asked / max(now - self.seen, self.terms.config.interval)
        if self.asked:
            self.seen = now
            self.unreported += self.asked
            self.asked = 0

    # Settling

    def ask(self, now: float) -> Open | None:
        """Return what to settle, or None if nothing presses."""
        # What was spent alone is paid back, but not beyond a share of the bucket: it would have held no more.
        repaid = min(self.self_granted, max(0.0, self.credit + self.terms.capacity * self.share))
        credit = self.credit - repaid
        target = self._target(now)
        is_short = credit < min(target, max(1.0, target / 2))
        is_overdue = self.unreported > 0 and now - self.settled >= self.terms.config.hold
        has_surplus = credit > 2 * target
        if not (is_short or is_overdue or has_surplus or self.self_granted):
            return None
        ask = Ask(self.name, target - credit, max(0.0, -credit), self.unreported)
        return Open(self, ask, repaid, self.self_granted)

    def settle(self, opened: Open, grant: Grant, now: float) -> None:
        """Take over what an ask got."""
        self.credit += grant.granted - opened.repaid
        self.self_granted -= opened.self_granted
        self.unreported -= int(opened.ask.demand)
        self.left = grant.left
        self.share = self._share(opened.ask.demand, grant.demand, now)
        self.told = self.settled = now
        self.is_new = False
        self.floor = -_headroom(grant.left, self.share)

    def is_at_rest(self, now: float) -> bool:
        """Tell whether there is nothing to settle, and nobody asked for a while."""
        has_open_ends = self.credit or self.unreported or self.self_granted
        return not has_open_ends and now - self.seen >= self.terms.config.hold

    def _target(self, now: float) -> float:
        """Return how much credit there should be."""
        config, silent = self.terms.config, now - self.seen
        if silent >= config.hold:
            return 0.0
        if silent > _QUIET_INTERVALS * config.interval:
            return 1.0
        return 1.0 + min(self.terms.rate, max(self.recent, self.demand)) * config.horizon

    def _share(self, reported: float, total: float, now: float) -> float:
        """Average the demand here just as the bucket does over all replicas, and return the quotient."""
        memory = self.terms.config.memory
        self.demand = self.demand * math.exp((self.settled - now) / memory) + reported / memory
        # Half of the newest report is left out: the other replicas' are older, by half a tick on average, and all
        # would find themselves a little more than they are.
        newest = reported / memory / 2
        if total <= newest:
            return self.share
        share = min(1.0, (self.demand - newest) / (total - newest))
        # Requests come unevenly, and a share may have to last for an outage: one settlement does not change it all.
        return share if self.is_new else self.share + _SMOOTHING * (share - self.share)

    # Alone

    def refill(self, now: float) -> bool:
        """Grant the share of the limit for the time since it was told last, and tell whether it has all it can."""
        # However long it lasts, no more than its share of the burst piles up.
        most = max(self.credit, self.floor + self.terms.capacity * self.share)
        refilled = min(most, self.credit + self.terms.rate * self.share * max(0.0, now - self.told))
        self.self_granted += refilled - self.credit
        self.credit = refilled
        self.told = now
        return refilled >= most

    def rest(self) -> None:
        """Begin anew with a full share: nothing that the subject did matters any longer."""
        self.credit = self.self_granted = 0.0
        self.unreported = 0
        self.floor = -(self.terms.capacity * self.share + _ROUNDING)
        self.told = math.inf  # the time until it comes again is counted already
        self.active = False


class Open(NamedTuple):
    """An ask that is not answered yet, and what of the credit taken alone it pays back."""

    account: Account
    ask: Ask
    repaid: float
    self_granted: float


def _headroom(left: float, share: float) -> float:
    """Return how far into debt a replica may go: its share of what is left, or one request if there is any."""
    return max(1.0, left * share) + _ROUNDING if left >= 1.0 else 0.0
