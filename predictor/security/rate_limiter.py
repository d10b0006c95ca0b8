"""One replica's side of the rate limit: admits from what it holds, and settles with the shared buckets now and then.

Each subject has an :class:`~predictor.security.quota_account.Account`. A quiet subject's burst passes at once, as debt;
a busy one lives on leases; and either way every request is taken from the bucket once. A new subject starts with an
allowance for the few milliseconds until it is settled. Under overload each tick's refill goes to whoever asks first;
asking at random moments shares it evenly, and a replica that needs less than an even share gets all it needs.

While the buckets are away, each account's credit grows by the last known share of the limit (*alone*); what was spent
so is settled afterwards.

All methods belong to one thread, the event loop's. ``now`` is in seconds of any steady clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from predictor.security.quota_account import Account, LimiterConfig, Open, Terms
from predictor.security.rate_policy import RatePolicy, Verdict, Verdicts
from store.quotas import Ask, BucketShape, Grant

__all__ = ["LimiterConfig", "RateLimiter"]

_MIN_ALLOWANCE = 10.0


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
        self._share = 1.0 / self.config.replicas
        self._allowance = min(policy.capacity, max(_MIN_ALLOWANCE, policy.capacity / 4))
        if not self.config.is_shared:
            self._allowance = policy.capacity * self._share
        self._verdicts = Verdicts(policy)
        self._passing = self._verdicts.passing
        self._scale = self._verdicts.scale
        # Two generations: whoever is not seen while one grows old is forgotten with it, at no cost for each.
        self._young: dict[str, Account] = {}
        self._old: dict[str, Account] = {}
        self._active: deque[Account] = deque()
        self._open: dict[str, Open] = {}

    @property
    def active_subjects(self) -> int:
        """How many subjects have traffic, or leases to give back."""
        return len(self._active)

    def admit(self, subject: str, now: float) -> Verdict:
        """Take one request of ``subject`` from its quota, and tell whether it may pass."""
        account = self._young.get(subject) or self._look_up(subject, now)
        if not account.active:
            account.active = True
            self._active.append(account)
        account.asked += 1
        credit = account.credit - 1.0
        if credit < account.floor and not account.may_fall(credit, now):
            return self._refuse(account)
        account.credit = credit
        remaining = account.left + credit
        if remaining <= 0.0:
            return self._passing[0]
        return self._passing[int(remaining * self._scale)] if remaining < self._capacity else self._passing[-1]

    def collect(self, now: float, budget: int) -> list[Ask]:
        """Look at up to ``budget`` active subjects and return what to settle; ``settle`` or ``give_up`` must follow."""
        for _ in range(min(budget, len(self._active))):
            account = self._active.popleft()
            account.look(now)
            # A subject that was forgotten and came again may be here twice; one settlement takes it once.
            opened = None if account.name in self._open else account.ask(now)
            if opened is not None:
                self._open[account.name] = opened
            elif account.is_at_rest(now):
                account.active = False
            else:
                self._active.append(account)
        return [opened.ask for opened in self._open.values()]

    def settle(self, grants: Iterable[Grant], now: float) -> None:
        """Take over what the collected asks got."""
        for grant in grants:
            opened = self._open.pop(grant.subject)
            opened.account.settle(opened, grant, now)
            self._active.append(opened.account)
        self.give_up()

    def give_up(self) -> None:
        """Take the asks back that nobody answered."""
        self._active.extend(opened.account for opened in self._open.values())
        self._open.clear()

    def refill_alone(self, now: float) -> None:
        """Grant every active subject its last share of the limit, for the time since it was told last."""
        for opened in self._open.values():
            opened.account.refill(now)
        for _ in range(len(self._active)):
            account = self._active.popleft()
            account.look(now)
            if account.refill(now) and now - account.seen >= self.config.hold:
                account.rest()
            else:
                self._active.append(account)

    def age(self) -> None:
        """Forget the subjects that were not seen since this was called last."""
        self._old = self._young
        self._young = {}

    def _look_up(self, subject: str, now: float) -> Account:
        account = self._old.get(subject)
        if account is None:
            terms = Terms(self._rate, self._capacity, self.config)
            account = Account(terms, subject, now, allowance=self._allowance, share=self._share)
            self.wake()
        if len(self._young) >= self.config.max_subjects // 2:
            self.age()
        self._young[subject] = account
        return account

    def _refuse(self, account: Account) -> Verdict:
        expected = account.left + account.credit
        if expected >= 1.0:  # not exhausted, only shared out badly
            self.wake()
        return self._verdicts.refusing((1.0 - min(expected, 0.0)) / self._rate)


def _nothing() -> None:
    """Wake nobody."""
