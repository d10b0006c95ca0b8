"""What a run saw, and whether that is good. PURE."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soak.process_watch import Held, Sample

RATIO_GOAL = 1.02
LEAST_SAMPLES = 200
# Beside what a limit lets through in the time: the limiter is right to within a twentieth.
_LIMIT_TOLERANCE = 0.05


@dataclass(frozen=True)
class Greed:
    """How the subject fared that asks too often: answers of either kind, and what its limit lets through."""

    passed: int
    refused: int
    allowed: float


@dataclass(frozen=True)
class Outcome:
    """What a run saw.

    Args:
        requests: that were to be sent.
        seconds: it took.
        by_kind: how many requests of each kind were answered, or cut off by the client where that was meant.
        wrong: answers that were not as they had to be.
        samples: of the server's memory.
        before: what the process held before the run.
        after: what it held after it.
        expected_log: lines of the access log there must be, by status.
        logged: those there were.
        log_lines: lines of any kind.
        log_dropped: lines of the access log that the server could not write.
        log_faults: lines that should not be there, by what is wrong.
        log_examples: some of them.
        expected_metric: requests that the metrics must count, by status.
        counted: those they count.
        expected_rows: records that must have been scored.
        noted_rows: records that the prediction log has written or dropped, and counted.
        greed: of the greedy subject.
        exit_status: of the server, when it was told to stop.

    """

    requests: int
    seconds: float
    by_kind: Mapping[str, int]
    wrong: Mapping[str, int]
    samples: Sequence[Sample]
    before: Held
    after: Held
    expected_log: Mapping[int, int]
    logged: Mapping[int, int]
    log_lines: int
    log_dropped: int
    log_faults: Mapping[str, int]
    log_examples: Sequence[str]
    expected_metric: Mapping[int, int]
    counted: Mapping[int, int]
    expected_rows: int
    noted_rows: int
    greed: Greed
    exit_status: int | None

    @property
    def ratio(self) -> float:
        """Median resident memory of the last quarter over that of the second; 0 where there are too few samples."""
        second, last = (self._median(0.25, 0.5), self._median(0.75, 1.0))
        return last / second if second else 0.0

    def _median(self, start: float, end: float) -> float:
        if not self.samples:
            return 0.0
        first, total = self.samples[0].requests, self.samples[-1].requests
        span = total - first
        chosen = [s.rss for s in self.samples if start * span <= s.requests - first <= end * span]
        return statistics.median(chosen) if chosen else 0.0


def failures(outcome: Outcome) -> list[str]:
    """Return what is wrong, in sentences; nothing for a good run."""
    return [
        *_memory(outcome),
        *_answers(outcome),
        *_log(outcome),
        *_held(outcome),
        *_counts(outcome),
    ]


def _memory(outcome: Outcome) -> list[str]:
    if len(outcome.samples) < LEAST_SAMPLES:
        return [f"memory was looked at {len(outcome.samples)} times; it takes {LEAST_SAMPLES}"]
    if not 0 < outcome.ratio <= RATIO_GOAL:
        return [f"memory grows: the last quarter has {outcome.ratio:.4f} of the second; the goal is {RATIO_GOAL}"]
    return []


def _answers(outcome: Outcome) -> list[str]:
    wrong = [f"{count} x {what}" for what, count in outcome.wrong.items()]
    answered = sum(outcome.by_kind.values())
    if answered != outcome.requests:
        wrong.append(f"{answered} of {outcome.requests} requests were answered")
    return wrong


def _log(outcome: Outcome) -> list[str]:
    faults = [f"the log has {count} x {what}" for what, count in outcome.log_faults.items()]
    if outcome.log_dropped:
        faults.append(f"the server could not write {outcome.log_dropped} lines of its access log")
    if differing := difference(outcome.expected_log, outcome.logged):
        faults.append(f"the access log has other lines than there were requests, by status: {differing}")
    return faults


def _held(outcome: Outcome) -> list[str]:
    before, after = outcome.before, outcome.after
    faults = []
    if after.descriptors != before.descriptors:
        faults.append(f"the server had {before.descriptors} file descriptors before and {after.descriptors} after")
    if after.threads != before.threads:
        faults.append(f"the server had {before.threads} threads before and {after.threads} after")
    if outcome.exit_status != 0:
        faults.append(f"the server ended with status {outcome.exit_status}")
    return faults


def _counts(outcome: Outcome) -> list[str]:
    faults = []
    if outcome.noted_rows != outcome.expected_rows:
        faults.append(f"{outcome.expected_rows} records were scored; the prediction log counts {outcome.noted_rows}")
    if differing := difference(outcome.expected_metric, outcome.counted):
        faults.append(f"the metrics count other requests than were sent, by status: {differing}")
    greed = outcome.greed
    if greed.passed + greed.refused and not greed.refused:
        faults.append("nobody was over quota")
    if greed.passed > greed.allowed * (1 + _LIMIT_TOLERANCE):
        faults.append(f"{greed.passed} requests of the greedy subject passed; its limit is {greed.allowed:.0f}")
    return faults


def difference(expected: Mapping[int, int], came: Mapping[int, int]) -> str:
    """Return how the counts differ, or nothing."""
    left, right = Counter(expected), Counter(came)
    keys = sorted(key for key in left.keys() | right.keys() if left[key] != right[key])
    return ", ".join(f"{key}: {right[key]} instead of {left[key]}" for key in keys)
