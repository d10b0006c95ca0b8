"""A sample of what `make bench ARGS="--only crowd"` does with a thousand ServedModels."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.registry.actions import timed_action, wait_for_phase
from benchmarks.registry.crowd import Crowd, wait_until_quiet
from benchmarks.registry.stage import stage
from benchmarks.registry.traffic_watch import TrafficWatch
from registry.kubernetes.resources import SERVED_MODELS, Manifest

COUNT = int(os.environ.get("TELLTALE_TEST_SERVED_MODELS", "100"))
_IDLE_SECONDS = 20.0


@pytest.fixture
def crowd(kubeconfig: str, tmp_path: Path) -> Iterator[Crowd]:  # noqa: ARG001
    """A hundred ServedModels that are about to be created, and a controller that runs."""
    with stage(tmp_path) as where:
        found = Crowd(where, COUNT)
        where.models.register(found.names, ("20260101000000", "20260102000000"))
        found.controller.start()
        yield found
        found.controller.kill()


def statuses(crowd: Crowd) -> dict[str, Manifest]:
    """Return the status of each ServedModel."""
    found = crowd.where.api.list(SERVED_MODELS, crowd.where.namespace)
    return {one["metadata"]["name"]: one["status"] for one in found}


def changes(before: dict[str, Manifest], after: dict[str, Manifest]) -> list[tuple[Manifest, Manifest]]:
    """Return what changed, before and after."""
    return [(before[name], status) for name, status in after.items() if before[name] != status]


@pytest.mark.timeout(900)
def test_a_hundred_become_healthy_then_rest_without_a_write_and_an_undo_goes_before_a_storm(crowd: Crowd) -> None:
    crowd.create(crowd.names)
    crowd.wait_until_at_rest(print)
    crowd.act("Promote", crowd.held)
    wait_for_phase(crowd.where, crowd.names, "Healthy")
    wait_until_quiet(crowd)
    before = statuses(crowd)
    with crowd.written() as written:
        time.sleep(_IDLE_SECONDS)  # what is tested is that nothing happens
    assert set(written) <= {"replace leases"}, changes(before, statuses(crowd))
    crowd.where.models.promote(crowd.held[:1], 2)
    wait_for_phase(crowd.where, crowd.held[:1], "Paused")
    with TrafficWatch(crowd.where.client, crowd.where.namespace).listening() as traffic:
        crowd.where.models.promote(crowd.moved, 2)
        assert timed_action(crowd.where, traffic, "Undo", crowd.held[0]) < 60
        assert len(traffic.weights(crowd.held[0])) == 1, "everything is back at one revision"
    wait_for_phase(crowd.where, crowd.held[:1], "Rejected")
    wait_for_phase(crowd.where, crowd.moved, "Healthy", 600)
