"""The page that Prometheus reads: well-formed, by the conventions, and with what every part exposes."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from predictor.observability.metrics import Metrics
from predictor.observability.security_metrics import SecurityMetrics
from predictor.security.events import SecurityEvents
from tests.predictor.observability.exposed import families, value


@pytest.fixture
def metrics() -> Metrics:
    """Metrics in which everything was counted once."""
    metrics = Metrics()
    metrics.http.note("POST", "/score", 200, 0.00003)
    metrics.http.note("POST", "/score", 429, 0.00003)
    metrics.grpc.note("ModelInfer", "OK", 0.0001)
    metrics.versions.one("default", "20240101000000", -0.1, 0.00002)
    metrics.versions.many("default", "20240101000000", np.linspace(-0.5, 0.5, 1000), 0.01)
    metrics.security.refused("expired")
    metrics.kernel.labels("c-avx512").set(1)
    metrics.loaded_versions.set(2)
    metrics.load_failures.labels("default").inc()
    return metrics


def test_every_name_follows_the_conventions(metrics: Metrics) -> None:
    """Ours begin with telltale_, counters end with _total, and every one says what it is."""
    for family in families(metrics).values():
        assert family.documentation
        if not family.name.startswith("telltale_"):
            assert family.name.startswith(("process_", "python_"))
            continue
        assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", family.name)
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples)
        else:
            assert not family.name.endswith("_total")


def test_every_histogram_grows_from_bucket_to_bucket_up_to_its_count(metrics: Metrics) -> None:
    """What Prometheus' quantiles stand on."""
    seen = 0
    for family in families(metrics).values():
        if family.type != "histogram":
            continue
        buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
        counts = {tuple(s.labels.items()): s.value for s in family.samples if s.name.endswith("_count")}
        by_labels = itertools.groupby(buckets, lambda s: tuple((k, v) for k, v in s.labels.items() if k != "le"))
        for labels, group in by_labels:
            samples = list(group)
            values = [sample.value for sample in samples]
            assert values == sorted(values)
            assert samples[-1].labels["le"] == "+Inf"
            assert values[-1] == counts.get(labels, values[-1])
            seen += 1
    assert seen == 4


def test_the_page_is_valid_by_the_strict_parser_of_openmetrics(metrics: Metrics) -> None:
    """It checks what the other one lets pass: order, duplicates, suffixes, escapes."""
    page = generate_openmetrics(metrics.registry).decode()  # type: ignore[no-untyped-call]
    found = {family.name for family in parse_openmetrics(page)}  # type: ignore[no-untyped-call]
    assert {"telltale_http_requests", "telltale_score_seconds", "telltale_kernel_info", "telltale_flag_rate"} <= found


def test_no_series_comes_twice(metrics: Metrics) -> None:
    """A scraper would refuse the page."""
    samples = [
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in families(metrics).values()
        for sample in family.samples
    ]
    assert len(samples) == len(set(samples))


def test_a_label_may_hold_anything() -> None:
    """It is escaped, and read back as it was."""
    metrics = Metrics()
    model = 'a"b\\c\nd é'
    metrics.versions.one(model, "20240101000000", 0.1, 0.001)
    assert value(metrics, "telltale_scored_records_total", model=model, model_version="20240101000000") == 1


def test_the_kernel_in_use_is_told() -> None:
    """As an info metric: a 1 with the name in a label."""
    metrics = Metrics()
    metrics.kernel.labels("numpy").set(1)
    assert value(metrics, "telltale_kernel_info", kernel="numpy") == 1


def test_a_value_that_is_kept_elsewhere_is_read_at_each_scrape() -> None:
    """With a label, and without one."""
    metrics = Metrics()
    count = {"plain": 1}
    reasons = {"full": 2}
    metrics.count("things", "Things.", lambda: count["plain"])
    metrics.count("drops", "Drops.", lambda: reasons, label="reason")
    metrics.gauge("level", "Level.", lambda: 0.5)
    assert value(metrics, "telltale_things_total") == 1
    assert value(metrics, "telltale_level") == 0.5
    count["plain"], reasons["stopped"] = 7, 1
    assert value(metrics, "telltale_things_total") == 7
    assert value(metrics, "telltale_drops_total", reason="full") == 2
    assert value(metrics, "telltale_drops_total", reason="stopped") == 1


def test_two_predictors_in_one_process_do_not_mix_their_metrics() -> None:
    """Standalone tests run several."""
    one, other = Metrics(), Metrics()
    one.http.note("POST", "/score", 200, 0.001)
    assert value(other, "telltale_http_requests_total", method="POST", route="/score", status="200") is None


def test_refusals_are_counted_by_reason_and_the_quotas_apart() -> None:
    """The reasons are stable: alerts name them."""
    metrics = Metrics()
    events: SecurityEvents = metrics.security
    assert isinstance(events, SecurityMetrics)
    for reason in ("expired", "expired", "missing_scope", "rate_limited"):
        events.refused(reason)
    assert value(metrics, "telltale_auth_refusals_total", reason="expired") == 2
    assert value(metrics, "telltale_auth_refusals_total", reason="missing_scope") == 1
    assert value(metrics, "telltale_rate_limited_total") == 1


def test_the_state_of_quotas_and_keys_is_told() -> None:
    """Up until the database is away, and up again."""
    metrics = Metrics()
    events: SecurityEvents = metrics.security
    assert value(metrics, "telltale_quota_store_up") == 1
    events.quotas_alone(True)
    events.quotas_failed()
    assert value(metrics, "telltale_quota_store_up") == 0
    events.quotas_alone(False)
    events.quotas_leased(3, 0.25)
    events.keys_fetched(2)
    events.keys_failed()
    assert value(metrics, "telltale_quota_store_up") == 1
    assert value(metrics, "telltale_quota_leases_total") == 1
    assert value(metrics, "telltale_quota_lease_failures_total") == 1
    assert value(metrics, "telltale_quota_lease_seconds") == 0.25
    assert value(metrics, "telltale_quota_subjects") == 3
    assert value(metrics, "telltale_auth_keys") == 2
    assert value(metrics, "telltale_auth_key_fetch_failures_total") == 1
