"""What versions scored: counts that no thread loses, histograms equal to numpy's, and the recent flag rate."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from predictor.observability.buckets import SCORE_BOUNDS
from predictor.observability.metrics import Metrics
from tests.predictor.observability.exposed import families, series, value

V = {"model": "default", "model_version": "20240101000000"}
KEY = (V["model"], V["model_version"])


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_lone_records_and_batches_count_together() -> None:
    """Requests, records, flagged records and latency."""
    metrics = Metrics()
    metrics.versions.one(*KEY, -0.1, 0.25)
    metrics.versions.one(*KEY, 0.1, 0.25)
    metrics.versions.many(*KEY, np.array([-0.2, -1e-300, 0.0, 0.3]), 0.5)
    assert value(metrics, "telltale_score_requests_total", **V) == 3
    assert value(metrics, "telltale_scored_records_total", **V) == 6
    assert value(metrics, "telltale_flagged_records_total", **V) == 3
    assert value(metrics, "telltale_score_seconds_sum", **V) == 1.0
    assert value(metrics, "telltale_score_seconds_count", **V) == 3


scores = st.one_of(st.sampled_from(SCORE_BOUNDS), st.floats(-0.6, 0.6))


@given(st.lists(scores, max_size=300))
def test_the_histogram_is_the_same_however_the_records_came(values: list[float]) -> None:
    """One by one, as small batches, or as a large one: equal to numpy's count, a bound within its own bucket."""
    decision = np.array(values, np.float64)
    alone, small, large = Metrics(), Metrics(), Metrics()
    for one in values:
        alone.versions.one(*KEY, one, 0.001)
    for start in range(0, len(values), 7):
        small.versions.many(*KEY, decision[start : start + 7], 0.001)
    large.versions.many(*KEY, decision, 0.001)
    expected = {
        **{str(bound): float(np.count_nonzero(decision <= bound)) for bound in SCORE_BOUNDS},
        "+Inf": float(len(values)),
    }
    for metrics in (alone, small, large) if values else (large,):
        assert _buckets(metrics) == expected
        assert value(metrics, "telltale_flagged_records_total", **V) == np.count_nonzero(decision < 0)


@pytest.mark.parametrize("n", [1, 128, 129, 100_000])
def test_batches_of_any_size_are_counted_right(n: int) -> None:
    """By a loop when they are small, and by numpy when they are not."""
    decision: NDArray[np.float64] = np.random.default_rng(n).normal(0.05, 0.1, n)
    metrics = Metrics()
    metrics.versions.many(*KEY, decision, 0.001)
    assert _buckets(metrics)["0.0"] == np.count_nonzero(decision <= 0)
    assert value(metrics, "telltale_flagged_records_total", **V) == np.count_nonzero(decision < 0)


def test_no_count_is_lost_between_the_loop_and_the_threads() -> None:
    """One thread notes lone records while three note batches, and are interrupted as often as can be."""
    metrics = Metrics()
    decision = np.repeat([-0.1, 0.1, 0.2], 50)
    running = threading.Event()

    def batches() -> None:
        running.set()
        for _ in range(500):
            metrics.versions.many(*KEY, decision, 0.001)

    threads = [threading.Thread(target=batches) for _ in range(3)]
    alone = 0
    with _switching_often():
        for thread in threads:
            thread.start()
        running.wait()
        while any(thread.is_alive() for thread in threads):
            metrics.versions.one(*KEY, -0.1, 0.001)
            alone += 1
    assert value(metrics, "telltale_score_requests_total", **V) == alone + 1500
    assert value(metrics, "telltale_scored_records_total", **V) == alone + 1500 * 150
    assert value(metrics, "telltale_flagged_records_total", **V) == alone + 1500 * 50


def test_the_scores_have_no_sum() -> None:
    """They have both signs, and a sum that falls looks like a counter that began anew."""
    metrics = Metrics()
    metrics.versions.one(*KEY, -0.1, 0.001)
    names = {sample.name for sample in families(metrics)["telltale_anomaly_score"].samples}
    assert names == {"telltale_anomaly_score_bucket"}


def test_a_version_that_left_memory_leaves_no_series() -> None:
    """Of whatever kind."""
    metrics = Metrics()
    metrics.versions.one(*KEY, -0.1, 0.001)
    metrics.versions.one("default", "20240202000000", -0.1, 0.001)
    metrics.forget_version(*KEY)
    assert V["model_version"] not in metrics.render().decode()
    assert value(metrics, "telltale_scored_records_total", model="default", model_version="20240202000000") == 1


def test_versions_are_bounded_whatever_happens() -> None:
    """Requests under way bring a forgotten version back; the oldest goes."""
    metrics = Metrics()
    for number in range(2500):
        metrics.versions.one("default", f"{number:014d}", 0.1, 0.001)
    found = series(metrics, "telltale_scored_records_total")
    assert len(found) == 2000
    assert found[-1]["model_version"] == "00000000002499"


def test_the_flag_rate_is_that_of_the_last_five_minutes() -> None:
    """What was before does not count, once a scrape older than the window is there to compare with."""
    clock = Clock()
    metrics = Metrics(clock)
    metrics.versions.many(*KEY, np.full(1000, -0.1), 0.001)
    assert value(metrics, "telltale_flag_rate", **V) == 1.0
    for _ in range(21):
        clock.now += 15
        metrics.versions.many(*KEY, np.array([-0.1, 0.1, 0.1, 0.1]), 0.001)
        metrics.render()
    assert value(metrics, "telltale_flag_rate", **V) == 0.25


def test_the_flag_rate_is_unknown_when_nothing_was_scored() -> None:
    """Not 0, which would say that all is well."""
    clock = Clock()
    metrics = Metrics(clock)
    metrics.versions.one(*KEY, -0.1, 0.001)
    for _ in range(25):
        clock.now += 15
        metrics.render()
    assert math.isnan(value(metrics, "telltale_flag_rate", **V) or 0.0)


def test_frequent_scrapes_neither_shorten_the_window_nor_fill_memory() -> None:
    """Two Prometheus servers and a person may look every second."""
    clock = Clock()
    metrics = Metrics(clock)
    for second in range(900):
        clock.now += 1
        metrics.versions.one(*KEY, -0.1 if second < 750 else 0.1, 0.001)
        rate = value(metrics, "telltale_flag_rate", **V)
    assert rate == pytest.approx(0.5, abs=0.03)
    assert len(metrics.versions._versions[KEY].looks) < 25


def _buckets(metrics: Metrics) -> dict[str, float]:
    samples = families(metrics)["telltale_anomaly_score"].samples
    return {sample.labels["le"]: sample.value for sample in samples}


@contextmanager
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
