"""One replica's side of the rate limit: admits from what it holds, and settles with the shared buckets now and then.

For each subject it has *credit*, leased ahead, and may go into *debt* down to a floor: its share of what was left in
the shared bucket, by how much of the subject's demand comes here. So a quiet subject's burst passes at once, a busy
one lives on leases, and either way every request is taken from the bucket once. A new subject starts with an allowance
for the few milliseconds until it is settled. Under overload each tick's refill goes to whoever asks first; asking at
random moments shares it evenly, and a replica that needs less than an even share gets all it needs.

While the buckets are away, each subject's credit grows by the last known share of the limit (*alone*); what was spent
so is settled afterwards.

All methods belong to one thread, the event loop's. ``now`` is in seconds of any steady clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from predictor.security.rate_policy import RatePolicy, Verdict, Verdicts
from store.quotas import Ask, BucketShape, Grant

# Settled floats of the database and of sums here differ in the last digits; a whole request is still whole.
_ROUNDING = 1e-6
_MIN_ALLOWANCE = 10.0
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
        max_subjects: how many subjects are kept, about; the least recently seen are forgotten first.

    """

    interval: float = 0.1
    horizon: float = 0.2
    hold: float = 1.0
    memory: float = 1.0
    replicas: int = 1
    max_subjects: int = 50_000


class _Subject:
    """What one replica knows about one subject; times are those of ``now``."""

    __slots__ = (
        "active", "asked", "credit", "demand", "floor", "is_new", "left", "name", "recent", "seen", "self_granted",
        "settled", "share", "told", "unreported",
    )  # fmt: skip

    def __init__(self, name: str, now: float, *, allowance: float, capacity: float, share: float) -> None:
        self.name = name
        self.credit = 0.0  # requests leased and not used; below 0, used and not settled
        self.floor = -allowance  # how far credit may fall
        self.left = capacity  # requests in the shared bucket, when that was known last
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


class _Open(NamedTuple):
    """An ask that is not answered yet, and what of the credit taken alone it pays back."""

    known: _Subject
    ask: Ask
    repaid: float
    self_granted: float


class RateLimiter:
    """Admits requests by subject.

    Args:
        policy: the limit.
        config: how it is leased.

    """

    def __init__(self, policy: RatePolicy, config: LimiterConfig | None = None) -> None:
        self.policy = policy
        self.config = config or LimiterConfig()
        self.shape = BucketShape(policy.rate, policy.capacity, self.config.memory)
        self.wake: Callable[[], None] = _nothing
        self._rate = policy.rate
        self._capacity = policy.capacity
        self._allowance = min(policy.capacity, max(_MIN_ALLOWANCE, policy.capacity / 4))
        self._share = 1.0 / self.config.replicas
        self._verdicts = Verdicts(policy)
        self._passing = self._verdicts.passing
        self._scale = self._verdicts.scale
        # Two generations: whoever is not seen while one grows old is forgotten with it, at no cost for each.
        self._young: dict[str, _Subject] = {}
        self._old: dict[str, _Subject] = {}
        self._active: deque[_Subject] = deque()
        self._open: dict[str, _Open] = {}

    @property
    def active_subjects(self) -> int:
        """How many subjects have traffic, or leases to give back."""
        return len(self._active)

    def admit(self, subject: str, now: float) -> Verdict:
        """Take one request of ``subject`` from its quota, and tell whether it may pass."""
        known = self._young.get(subject) or self._look_up(subject, now)
        if not known.active:
            known.active = True
            self._active.append(known)
        known.asked += 1
        credit = known.credit - 1.0
        if credit < known.floor and not self._may_fall(known, credit, now):
            return self._refuse(known)
        known.credit = credit
        remaining = known.left + credit
        if remaining <= 0.0:
            return self._passing[0]
        return self._passing[int(remaining * self._scale)] if remaining < self._capacity else self._passing[-1]

    def collect(self, now: float, budget: int) -> list[Ask]:
        """Look at up to ``budget`` active subjects and return what to settle; ``settle`` or ``give_up`` must follow."""
        for _ in range(min(budget, len(self._active))):
            known = self._active.popleft()
            self._look_at(known, now)
            # A subject that was forgotten and came again may be here twice; one settlement takes it once.
            opened = None if known.name in self._open else self._ask(known, now)
            if opened is not None:
                self._open[known.name] = opened
            elif known.credit or known.unreported or known.self_granted or now - known.seen < self.config.hold:
                self._active.append(known)
            else:
                known.active = False
        return [opened.ask for opened in self._open.values()]

    def settle(self, grants: Iterable[Grant], now: float) -> None:
        """Take over what the collected asks got."""
        for grant in grants:
            known, ask, repaid, self_granted = self._open.pop(grant.subject)
            known.credit += grant.granted - repaid
            known.self_granted -= self_granted
            known.unreported -= int(ask.demand)
            known.left = grant.left
            known.share = self._share_of(known, ask.demand, grant.demand, now)
            known.told = known.settled = now
            known.is_new = False
            known.floor = -_headroom(grant.left, known.share)
            self._active.append(known)
        self.give_up()

    def give_up(self) -> None:
        """Take the asks back that nobody answered."""
        self._active.extend(opened.known for opened in self._open.values())
        self._open.clear()

    def refill_alone(self, now: float) -> None:
        """Grant every active subject its last share of the limit, for the time since it was told last."""
        for opened in self._open.values():
            self._refill(opened.known, now)
        for _ in range(len(self._active)):
            known = self._active.popleft()
            self._look_at(known, now)
            if self._refill(known, now) and now - known.seen >= self.config.hold:
                self._rest(known)
            else:
                self._active.append(known)

    def age(self) -> None:
        """Forget the subjects that were not seen since this was called last."""
        self._old = self._young
        self._young = {}

    def _refill(self, known: _Subject, now: float) -> bool:
        """Grant a subject its share since it was told last, and tell whether it has all that it can have."""
        # However long it lasts, no more than its share of the burst piles up.
        most = max(known.credit, known.floor + self._capacity * known.share)
        refilled = min(most, known.credit + self._rate * known.share * max(0.0, now - known.told))
        known.self_granted += refilled - known.credit
        known.credit = refilled
        known.told = now
        return refilled >= most

    def _rest(self, known: _Subject) -> None:
        """Look at a subject no more: its share is full again, so nothing that it did matters any longer."""
        known.credit = known.self_granted = 0.0
        known.unreported = 0
        known.floor = -(self._capacity * known.share + _ROUNDING)
        known.told = math.inf  # the time until it comes again is counted already
        known.active = False

    def _look_up(self, subject: str, now: float) -> _Subject:
        known = self._old.get(subject)
        if known is None:
            known = _Subject(subject, now, allowance=self._allowance, capacity=self._capacity, share=self._share)
            self.wake()
        if len(self._young) >= self.config.max_subjects // 2:
            self.age()
        self._young[subject] = known
        return known

    def _may_fall(self, known: _Subject, credit: float, now: float) -> bool:
        """Lower the floor by what must have come into the bucket since, if nobody asked for a while."""
        idle = now - known.told
        if idle >= self.config.hold:
            expected = min(self._capacity, known.left + self._rate * idle)
            known.floor = min(known.floor, -_headroom(expected, known.share))
            known.left = expected
            known.told = now
        return credit >= known.floor

    def _refuse(self, known: _Subject) -> Verdict:
        expected = known.left + known.credit
        if expected >= 1.0:  # not exhausted, only shared out badly
            self.wake()
        return self._verdicts.refusing((1.0 - min(expected, 0.0)) / self._rate)

    def _share_of(self, known: _Subject, reported: float, total: float, now: float) -> float:
        """Average the subject's demand here just as its bucket does over all replicas, and return the quotient."""
        memory = self.config.memory
        known.demand = known.demand * math.exp((known.settled - now) / memory) + reported / memory
        # Half of the newest report is left out: the other replicas' are older, by half a tick on average, and all
        # would find themselves a little more than they are.
        newest = reported / memory / 2
        if total <= newest:
            return known.share
        share = min(1.0, (known.demand - newest) / (total - newest))
        # Requests come unevenly, and a share may have to last for an outage: one settlement does not change it all.
        return share if known.is_new else known.share + _SMOOTHING * (share - known.share)

    def _look_at(self, known: _Subject, now: float) -> None:
        known.recent = known.asked / max(now - known.seen, self.config.interval)
        if known.asked:
            known.seen = now
            known.unreported += known.asked
            known.asked = 0

    def _ask(self, known: _Subject, now: float) -> _Open | None:
        """Return what to settle for a subject, or None if nothing presses."""
        # What was spent alone is paid back, but not beyond a share of the bucket: it would have held no more.
        repaid = min(known.self_granted, max(0.0, known.credit + self._capacity * known.share))
        credit = known.credit - repaid
        target = self._target(known, now)
        is_short = credit < min(target, max(1.0, target / 2))
        is_overdue = known.unreported > 0 and now - known.settled >= self.config.hold
        has_surplus = credit > 2 * target
        if not (is_short or is_overdue or has_surplus or known.self_granted):
            return None
        ask = Ask(known.name, target - credit, max(0.0, -credit), known.unreported)
        return _Open(known, ask, repaid, known.self_granted)

    def _target(self, known: _Subject, now: float) -> float:
        """Return how much credit the subject should have here."""
        silent = now - known.seen
        if silent >= self.config.hold:
            return 0.0
        if silent > _QUIET_INTERVALS * self.config.interval:
            return 1.0
        return 1.0 + min(self._rate, max(known.recent, known.demand)) * self.config.horizon


def _headroom(left: float, share: float) -> float:
    """Return how far into debt a replica may go: its share of what is left, or one request if there is any."""
    return max(1.0, left * share) + _ROUNDING if left >= 1.0 else 0.0


def _nothing() -> None:
    """Wake nobody."""
