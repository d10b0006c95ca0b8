"""Running hypothesis for a given time instead of a given number of examples, from one seed.

Round after round of examples, each with a seed of its own. What fails is shrunk for a while; the smallest input that
showed it is kept, and the search goes on for what else there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException, HypothesisWarning

from fuzz.tally import Tally

T = TypeVar("T")
Progress = Callable[[Tally], None]

_EXAMPLES = 200
_SHRINK_SECONDS = 30.0


class Outcome(NamedTuple):
    """What came of one input: its class for the table, and what was wrong, if anything was."""

    answer: str
    kind: str = ""
    detail: str = ""
    reproducer: bytes = b""


class _Failed(Exception):
    """Tells hypothesis that an input is to be shrunk."""


class _TimeOver(BaseException):
    """Ends a round from within; not an Exception, so that it is not taken for a failure."""


class Rounds:
    """A search.

    Args:
        tally: what it did and found goes here.
        seed: of the first round; the next ones count up.
        progress: is told now and then.
        shrink_seconds: how long what fails is made smaller.

    """

    def __init__(self, tally: Tally, *, seed: int, progress: Progress, shrink_seconds: float = _SHRINK_SECONDS) -> None:
        self._tally = tally
        self._seed = seed
        self._progress = progress
        self._shrink_seconds = shrink_seconds
        self._known: set[str] = set()
        self._shrinks_until: float | None = None

    def run(self, strategy: st.SearchStrategy[T], attempt: Callable[[T], Outcome], seconds: float) -> None:
        """Try inputs of ``strategy`` for some seconds; findings go into the tally."""
        started = time.monotonic()
        self._until = started + seconds
        number = 0
        while time.monotonic() < self._until:
            self._round(strategy, attempt, self._seed + number)
            number += 1
            self._tally.seconds = time.monotonic() - started
            self._progress(self._tally)

    def _round(self, strategy: st.SearchStrategy[T], attempt: Callable[[T], Outcome], seed: int) -> None:
        self._shrinks_until = None

        def test(value: T) -> None:
            self._try(attempt, value)

        configured = hypothesis.settings(
            max_examples=_EXAMPLES,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )(hypothesis.given(strategy)(test))
        run: Callable[[], Any] = hypothesis.seed(seed)(configured)
        try:
            run()
        except (_Failed, _TimeOver, HypothesisException, HypothesisWarning):
            # Flaky is one of them: what does not show again is kept as it was seen.
            self._known |= set(self._tally.findings)

    def _try(self, attempt: Callable[[T], Outcome], value: T) -> None:
        now = time.monotonic()
        if now > (self._until if self._shrinks_until is None else self._shrinks_until):
            raise _TimeOver
        outcome = attempt(value)
        self._tally.executions += 1
        self._tally.answers[outcome.answer] += 1
        if not self._tally.executions % 50:
            self._progress(self._tally)
        if not outcome.kind:
            return
        self._tally.find(outcome.kind, outcome.detail, outcome.reproducer)
        if outcome.kind not in self._known:
            self._shrinks_until = self._shrinks_until or now + self._shrink_seconds
            raise _Failed(outcome.kind)
