"""Requests and calls: what is counted, how latency falls into buckets, and that clients invent no series."""

from __future__ import annotations

import threading

import pytest

from predictor.observability.buckets import LATENCY_BOUNDS
from predictor.observability.metrics import Metrics
from tests.predictor.observability.exposed import series, value


@pytest.fixture
def metrics() -> Metrics:
    """All metrics."""
    return Metrics()


def test_requests_are_counted_by_method_route_and_status(metrics: Metrics) -> None:
    """Each in its own series."""
    for method, route, status in [("POST", "/score", 200)] * 3 + [("GET", "/models", 200), ("POST", "/score", 422)]:
        metrics.http.note(method, route, status, 0.001)
    name = "telltale_http_requests_total"
    assert value(metrics, name, method="POST", route="/score", status="200") == 3
    assert value(metrics, name, method="GET", route="/models", status="200") == 1
    assert value(metrics, name, method="POST", route="/score", status="422") == 1


def test_errors_are_what_was_answered_4xx_and_5xx_whatever_the_method(metrics: Metrics) -> None:
    """And nothing below."""
    for method, status in (("POST", 400), ("PUT", 400), ("POST", 503), ("POST", 399), ("POST", 200)):
        metrics.http.note(method, "/score", status, 0.001)
    name = "telltale_http_errors_total"
    assert value(metrics, name, route="/score", status="400") == 2
    assert value(metrics, name, route="/score", status="503") == 1
    assert len(series(metrics, name)) == 2


def test_a_latency_equal_to_a_bound_is_in_that_bounds_bucket(metrics: Metrics) -> None:
    """Prometheus' le: less or equal."""
    for seconds in (0.001, 0.0010001, 1e-9, 31.0):
        metrics.http.note("POST", "/score", 200, seconds)
    bucket = "telltale_http_request_seconds_bucket"
    assert value(metrics, bucket, route="/score", le="0.0005") == 1
    assert value(metrics, bucket, route="/score", le="0.001") == 2
    assert value(metrics, bucket, route="/score", le="0.0025") == 3
    assert value(metrics, bucket, route="/score", le="30.0") == 3
    assert value(metrics, bucket, route="/score", le="+Inf") == 4


def test_latency_is_one_histogram_for_each_route_over_methods_and_statuses(metrics: Metrics) -> None:
    """Count and sum are those of all its requests."""
    metrics.http.note("POST", "/score", 200, 0.25)
    metrics.http.note("POST", "/score", 422, 0.5)
    metrics.http.note("GET", "/score", 405, 0.25)
    assert value(metrics, "telltale_http_request_seconds_count", route="/score") == 3
    assert value(metrics, "telltale_http_request_seconds_sum", route="/score") == 1.0
    assert len(series(metrics, "telltale_http_request_seconds_bucket")) == len(LATENCY_BOUNDS) + 1


def test_methods_that_clients_invent_share_one_series(metrics: Metrics) -> None:
    """However many there are, in memory too."""
    for number in range(5000):
        metrics.http.note(f"BREW{number}", "(none)", 404, 0.001)
    (labels,) = series(metrics, "telltale_http_requests_total")
    assert labels == {"method": "OTHER", "route": "(none)", "status": "404"}
    assert value(metrics, "telltale_http_requests_total", **labels) == 5000
    assert len(metrics.http._series) == 1


def test_paths_that_a_caller_passes_for_routes_end_in_one_series(metrics: Metrics) -> None:
    """A mistake of ours must not fill the scraper's disk; no request is lost from the count."""
    for number in range(10_000):
        metrics.http.note("GET", f"/thing/{number}", 200, 0.001)
    assert len(series(metrics, "telltale_http_requests_total")) == 2001
    assert value(metrics, "telltale_http_requests_total", method="OTHER", route="OTHER", status="200") == 8000


def test_calls_are_counted_by_method_and_code(metrics: Metrics) -> None:
    """With a histogram of their latency."""
    metrics.grpc.note("ModelInfer", "OK", 0.5)
    metrics.grpc.note("ModelInfer", "NOT_FOUND", 0.25)
    metrics.grpc.note("ServerLive", "OK", 0.125)
    assert value(metrics, "telltale_grpc_requests_total", method="ModelInfer", code="OK") == 1
    assert value(metrics, "telltale_grpc_requests_total", method="ModelInfer", code="NOT_FOUND") == 1
    assert value(metrics, "telltale_grpc_request_seconds_count", method="ModelInfer") == 2
    assert value(metrics, "telltale_grpc_request_seconds_sum", method="ModelInfer") == 0.75


def test_no_request_is_lost_while_others_scrape(metrics: Metrics) -> None:
    """A scrape in another thread reads what the event loop is counting."""
    done = threading.Event()
    failures: list[Exception] = []

    def scrape() -> None:
        while not done.is_set():
            try:
                metrics.render()
            except Exception as failure:  # noqa: BLE001 - handed to the test
                failures.append(failure)

    thread = threading.Thread(target=scrape)
    thread.start()
    for number in range(20_000):
        metrics.http.note("POST", f"/route/{number % 500}", 200, 0.001)
    done.set()
    thread.join()
    assert failures == []
    assert sum(value for name, value in _counts(metrics) if name == "telltale_http_request_seconds_count") == 20_000


def _counts(metrics: Metrics) -> list[tuple[str, float]]:
    return [(sample.name, sample.value) for family in metrics.http.collect() for sample in family.samples]
