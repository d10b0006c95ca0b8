from __future__ import annotations

import pytest

from benchmarks.grpc_inference import ratio
from benchmarks.load import Load
from benchmarks.measuring import Sample


def sample(rps: float, busy: float) -> Sample:
    load = Load(
        requests=1, seconds=1, rps=rps, bad=0, bad_status=0, broken=0, bytes=1, mean_us=1, p50_us=1, p90_us=1,
        p99_us=1, max_us=1, cpu_share=0.1,
    )  # fmt: skip
    return Sample(load, busy)


def test_busy_servers_are_compared_by_requests_in_a_second() -> None:
    assert ratio([sample(4000, 0.97)], [sample(1000, 1.0)]) == 4


def test_a_server_that_waited_for_the_load_is_compared_by_its_processor_time() -> None:
    assert ratio([sample(4000, 0.5)], [sample(1000, 1.0)]) == 8


def test_each_rounds_ratio_counts_once() -> None:
    ours = [sample(4000, 1), sample(8000, 1), sample(400, 1)]
    theirs = [sample(1000, 1), sample(1000, 1), sample(100, 1)]
    assert ratio(ours, theirs) == pytest.approx(4)
