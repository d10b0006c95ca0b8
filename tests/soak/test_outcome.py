"""The verdict on a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from soak.outcome import LEAST_SAMPLES, Greed, Outcome, failures
from soak.process_watch import Held, Sample

SAMPLES = 2 * LEAST_SAMPLES


def samples(*quarters: float) -> list[Sample]:
    """Samples whose memory in each quarter of the run is so many bytes."""
    return [Sample(place, int(quarters[min(3, 4 * place // SAMPLES)]), 0) for place in range(SAMPLES)]


GOOD = Outcome(
    requests=100,
    seconds=2.0,
    by_kind={"/score": 90, "greedy": 10},
    wrong={},
    samples=samples(80e6, 100e6, 100e6, 101e6),
    before=Held(20, 30),
    after=Held(20, 30),
    expected_log={200: 95, 429: 5},
    logged={200: 95, 429: 5},
    log_lines=104,
    log_dropped=0,
    log_faults={},
    log_examples=[],
    expected_metric={200: 95, 429: 5},
    counted={200: 95, 429: 5, 500: 0},
    expected_rows=95,
    noted_rows=95,
    greed=Greed(passed=5, refused=5, allowed=5.0),
    exit_status=0,
)


def test_a_good_run_has_no_failures() -> None:
    """What grows before the second quarter, while caches fill, is no leak."""
    assert failures(GOOD) == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (replace(GOOD, samples=samples(100e6, 100e6, 102e6, 102.1e6)), "memory grows: the last quarter has 1.0210"),
        (replace(GOOD, samples=GOOD.samples[:100]), "memory was looked at 100 times"),
        (replace(GOOD, wrong={"/score: 500 instead of 200": 3}), "3 x /score: 500 instead of 200"),
        (replace(GOOD, by_kind={"/score": 99}), "99 of 100 requests were answered"),
        (replace(GOOD, log_faults={"a traceback": 1}), "the log has 1 x a traceback"),
        (replace(GOOD, log_dropped=7), "could not write 7 lines"),
        (replace(GOOD, logged={200: 94, 429: 5}), "by status: 200: 94 instead of 95"),
        (replace(GOOD, counted={200: 95, 429: 5, 500: 1}), "metrics count other requests than were sent"),
        (replace(GOOD, after=Held(21, 30)), "20 file descriptors before and 21 after"),
        (replace(GOOD, after=Held(20, 31)), "30 threads before and 31 after"),
        (replace(GOOD, exit_status=-9), "ended with status -9"),
        (replace(GOOD, noted_rows=94), "95 records were scored; the prediction log counts 94"),
        (replace(GOOD, greed=Greed(10, 0, 100.0)), "nobody was over quota"),
        (replace(GOOD, greed=Greed(9, 1, 5.0)), "9 requests of the greedy subject passed; its limit is 5"),
    ],
)
def test_whatever_is_wrong_is_said(bad: Outcome, words: str) -> None:
    """One thing at a time."""
    assert len(failures(bad)) == 1
    assert words in failures(bad)[0]
