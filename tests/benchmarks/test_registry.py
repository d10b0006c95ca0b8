from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.cores import choose_cores
from benchmarks.measuring import Plan
from benchmarks.processes import NotStarted
from benchmarks.registry import part
from benchmarks.registry.audit import AuditLog
from benchmarks.registry.bare_controller import turned
from benchmarks.registry.exposition import between, parsed, writes
from benchmarks.registry.samples import percentile
from benchmarks.registry.traffic_watch import weights_of
from benchmarks.subject import make_subject
from registry.metrics import RegistryMetrics

ACCOUNT = "system:serviceaccount:bench:telltale-registry"


def metrics() -> RegistryMetrics:
    return RegistryMetrics()


def test_a_percentile_is_one_of_the_samples() -> None:
    samples = [float(number) for number in range(1, 201)]
    assert percentile(samples, 0.5) == 100
    assert percentile(samples, 0.99) == 198
    assert percentile([7.0], 0.99) == 7
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.5)


def test_what_was_counted_between_two_moments_is_told_by_verb_and_resource() -> None:
    told = metrics()
    told.called("list", "services", 200, 0.01)
    before = parsed(told.exposition().decode())
    for _ in range(3):
        told.called("list", "services", 200, 0.01)
    told.called("apply", "httproutes", 201, 0.01)
    told.called("replace", "leases", 200, 0.01)
    counted = between(before, parsed(told.exposition().decode()))
    assert counted.total("api_calls_total") == 5
    assert counted.by("api_calls_total", "verb") == {"list": 3, "apply": 1, "replace": 1}
    assert writes(counted) == {"apply httproutes": 1, "replace leases": 1}


def test_a_quantile_lies_in_the_bucket_of_its_sample() -> None:
    told = metrics()
    for seconds in [0.03] * 98 + [0.7] * 2:
        told.reconciled("done", seconds)
    found = parsed(told.exposition().decode())
    assert 0.025 < found.quantile("reconcile_seconds", 0.5, result="done") <= 0.05
    assert 0.5 < found.quantile("reconcile_seconds", 0.99, result="done") <= 1.0
    assert math.isnan(found.quantile("reconcile_seconds", 0.99, result="conflict"))


def audited(user: str, verb: str, resource: str, code: int = 200) -> str:
    event = {
        "stage": "ResponseComplete",
        "verb": verb,
        "user": {"username": user},
        "objectRef": {"resource": resource},
        "responseStatus": {"code": code},
    }
    return f"{json.dumps(event)}\n"


def test_of_an_audit_log_only_what_the_account_wrote_since_then_counts(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(audited(ACCOUNT, "create", "modelrevisions"))
    since = AuditLog(log).position()
    assert since is not None
    with log.open("a") as more:
        more.write(audited(ACCOUNT, "patch", "httproutes") * 2 + audited("kserve", "patch", "services"))
        more.write(audited(ACCOUNT, "update", "servedmodels", code=409))
        more.write(audited(ACCOUNT, "delete", "inferenceservices").rstrip("\n"))
    assert AuditLog(log).writes(ACCOUNT, since) == {"patch httproutes": 2}


def test_without_an_audit_log_nothing_is_claimed(tmp_path: Path) -> None:
    assert AuditLog(tmp_path / "audit.log").position() is None


def test_the_bare_controller_changes_the_weights_and_nothing_else() -> None:
    backends = [{"name": "a", "port": 80, "weight": 90}, {"name": "b", "port": 80, "weight": 10}]
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "cars", "namespace": "fleet", "resourceVersion": "7", "managedFields": []},
        "spec": {"parentRefs": [{"name": "g"}], "hostnames": ["cars"], "rules": [{"backendRefs": backends}]},
    }
    once = turned(route)
    assert weights_of(once) == {"0 a": 10, "0 b": 90}
    assert once["metadata"] == {"name": "cars", "namespace": "fleet"}
    assert weights_of(turned(once)) == weights_of(route)


@pytest.mark.parametrize("run", [part.actions_and_failover, part.many])
def test_without_a_cluster_nothing_is_measured_and_it_is_said_why(
    run: Callable[[Plan], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    plan = Plan(make_subject(tmp_path), choose_cores(), tmp_path, 1, 1.0, lambda _: None)
    with pytest.raises(NotStarted, match="set KUBECONFIG"):
        run(plan)
