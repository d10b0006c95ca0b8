"""A controller whose clock is set wrong, by an hour and by a day: what lasts for a time, and who leads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.composition import Controller, build
from registry.kubernetes.resources import ROLLOUT_ACTIONS, SERVED_MODELS, Manifest
from registry.settings import RegistrySettings
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.in_process import Clock, Hand, OneModel, hand

DAY, HOUR = 86_400.0, 3600.0
JUMPS = pytest.mark.parametrize("jump", [DAY, HOUR, -HOUR, -DAY], ids=["day on", "hour on", "hour back", "day back"])
DAYS = pytest.mark.parametrize("jump", [DAY, -DAY], ids=["on", "back"])
PAUSE: tuple[Manifest, ...] = ({"setWeight": 10}, {"pause": {"durationSeconds": 600}}, {"setWeight": 50})
HUGE = {"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}}


@pytest.fixture
def driven(cluster: Cluster) -> Iterator[Hand]:
    """A controller whose clock a test sets."""
    with hand(cluster) as found:
        yield found


@JUMPS
def test_a_timed_pause_ends_early_or_in_its_own_time_and_an_abort_works_at_once(jump: float, driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve(*PAUSE)
    driven.move_alias()
    second = driven.rest("Paused")["candidateRevision"]
    driven.clock.jump(jump)
    if jump > 0:
        assert driven.rest("Healthy")["stableRevision"] == second
        return
    driven.rest("Paused")
    assert cluster.weights() == {first: 90, second: 10}
    driven.clock.jump(590)
    driven.rest("Paused")
    driven.clock.jump(11)
    assert driven.rest("Healthy")["stableRevision"] == second
    # An action is put in order by the API server's clock, and judged by nobody's.
    driven.move_alias("20260103000000")
    driven.rest("Paused")
    cluster.act("Abort")
    assert driven.rest("Rejected")["stableRevision"] == second
    assert {one["status"]["state"] for one in cluster.list(ROLLOUT_ACTIONS)} == {"Applied"}


@DAYS
def test_baking_and_warm_pods_end_early_or_in_their_own_time(jump: float, driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve(bake=300, keep=900)
    driven.move_alias()
    second = driven.rest("Baking")["stableRevision"]
    assert cluster.inference_services() == {first, second}
    driven.clock.jump(jump)
    if jump < 0:
        driven.rest("Baking")
        driven.clock.jump(290)
        driven.rest("Baking")
        driven.clock.jump(11)
        driven.rest("Healthy")
        assert cluster.inference_services() == {first, second}, "it is warm for its whole time"
        driven.clock.jump(600)
    status = driven.rest("Healthy")
    assert "previousRevision" not in status
    assert cluster.inference_services() == {second}
    # Its pods are gone, so the way back starts them again.
    cluster.act("Undo")
    assert driven.rest("Rejected")["stableRevision"] == first
    assert cluster.weights() == {first: 100}


@DAYS
def test_a_deadline_comes_early_or_in_its_own_time_and_what_served_serves_on(jump: float, driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve(deadline=120)
    cluster.patch(SERVED_MODELS, "cars", {"spec": {"predictor": {"resources": HUGE}}})
    driven.rest("Validating")
    driven.clock.jump(jump)
    if jump < 0:
        driven.rest("Validating")
        driven.clock.jump(121)
    rejected = driven.rest("Rejected")["rejectedRevisions"]
    assert [one["reason"] for one in rejected] == ["DeadlineExceeded"]
    assert "a pod finds no node" in rejected[0]["message"]
    assert cluster.weights() == {first: 100}


def test_a_clock_that_was_a_day_ahead_and_is_put_right_holds_up_nothing(driven: Hand) -> None:
    driven.serve(*PAUSE)
    driven.clock.jump(DAY)
    driven.move_alias()
    second = driven.rest("Paused")["candidateRevision"]
    driven.clock.jump(-DAY)
    driven.rest("Paused")
    driven.clock.jump(601)
    assert driven.rest("Healthy")["stableRevision"] == second


def replica(cluster: Cluster, identity: str, clock: Clock) -> Controller:
    """Return a replica that takes part in the election when it is told to."""
    settings = RegistrySettings.model_validate(
        {"namespaces": [cluster.namespace], "POD_NAMESPACE": cluster.namespace, "POD_NAME": identity, "workers": 1}
    )
    return build(settings, source=OneModel(), notes=OneModel(), clock=clock)


def election(one: Controller) -> bool:
    """Let a replica take its part once; tell whether it leads."""
    assert one.leader is not None
    one.leader.step()
    return one.is_leading()


@JUMPS
def test_who_leads_does_not_depend_on_any_clock_that_can_be_set(jump: float, cluster: Cluster) -> None:
    clocks = (Clock(), Clock())
    one, two = (replica(cluster, name, clock) for name, clock in zip(("one", "two"), clocks, strict=True))
    try:
        assert election(one)
        assert not election(two)
        for clock in clocks:
            clock.jump(jump)
            assert election(one)
            assert not election(two)
        assert one.leader is not None
        one.leader.release()
        assert election(two)
        assert not election(one)
    finally:
        one.close()
        two.close()
