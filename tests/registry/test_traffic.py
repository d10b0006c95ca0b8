from __future__ import annotations

import copy
from typing import Any

import pytest

from registry.traffic import can_mirror, following, named_revisions

ROUTE: dict[str, Any] = {
    "kind": "HTTPRoute",
    "metadata": {"name": "cars"},
    "spec": {
        "parentRefs": [{"name": "telltale", "namespace": "gateway"}],
        "rules": [{"backendRefs": [{"name": "cars-1-predictor", "weight": 100}]}],
    },
}


def live(**conditions: str) -> dict[str, Any]:
    """A route of generation 2, with what its gateway says of it (status@generation)."""
    route = copy.deepcopy(ROUTE)
    route["metadata"]["generation"] = 2
    said = [
        {"type": kind, "status": what.partition("@")[0], "observedGeneration": int(what.partition("@")[2])}
        for kind, what in conditions.items()
    ]
    parents = [{"parentRef": {"name": "telltale", "namespace": "gateway"}, "conditions": said}] if said else []
    return route | {"status": {"parents": parents}}


@pytest.mark.parametrize(
    ("route", "in_sync"),
    [
        (live(Accepted="True@2", ResolvedRefs="True@2"), True),
        (live(Accepted="True@1", ResolvedRefs="True@1"), False),
        (live(Accepted="True@2", ResolvedRefs="True@1"), False),
        (live(Accepted="False@2", ResolvedRefs="True@2"), False),
        (live(Accepted="True@2", ResolvedRefs="False@2"), False),
        (live(Accepted="True@2"), False),
        (live(), False),
    ],
)
def test_a_route_is_followed_when_its_gateway_took_this_generation(route: dict[str, Any], in_sync: bool) -> None:
    assert following([ROUTE], [route], settled=True, needs_acceptance=True).in_sync is in_sync


def test_a_gateway_that_says_nothing_is_believed_only_where_that_is_set() -> None:
    assert following([ROUTE], [live()], settled=True, needs_acceptance=False).in_sync
    found = following([ROUTE], [live()], settled=True, needs_acceptance=True)
    assert found.message == "the HTTPRoute: the Gateway gateway/telltale has not taken the route"


def test_what_another_gateway_says_does_not_count() -> None:
    route = live(Accepted="True@2", ResolvedRefs="True@2")
    route["status"]["parents"][0]["parentRef"]["name"] = "other"
    assert not following([ROUTE], [route], settled=True, needs_acceptance=True).in_sync


def test_a_gateway_that_refuses_is_not_in_sync_even_where_silence_is_believed() -> None:
    route = live(Accepted="False@2", ResolvedRefs="True@2")
    assert not following([ROUTE], [route], settled=True, needs_acceptance=False).in_sync


def test_a_route_that_is_missing_or_different_is_not_in_sync() -> None:
    assert not following([ROUTE], [], settled=True, needs_acceptance=False).in_sync
    other = live()
    other["spec"]["rules"][0]["backendRefs"][0]["weight"] = 90
    assert not following([ROUTE], [other], settled=True, needs_acceptance=False).in_sync


def test_a_route_that_nothing_wants_is_not_in_sync() -> None:
    assert not following([], [live()], settled=True, needs_acceptance=False).in_sync
    assert following([], [], settled=False, needs_acceptance=True).in_sync


def test_a_route_that_was_written_a_moment_ago_is_soon_in_sync() -> None:
    found = following([ROUTE], [live()], settled=False, needs_acceptance=False)
    assert (found.in_sync, found.soon) == (False, True)


def test_a_gateway_class_tells_whether_it_mirrors() -> None:
    def of(*names: str) -> dict[str, Any]:
        return {"status": {"supportedFeatures": [{"name": name} for name in names]}}

    assert can_mirror(of("HTTPRouteRequestMirror"), percentages=False) is True
    assert can_mirror(of("HTTPRouteRequestMirror"), percentages=True) is False
    assert can_mirror(of("HTTPRouteRequestPercentageMirror"), percentages=True) is True
    assert can_mirror(of(), percentages=False) is False
    assert can_mirror({"status": {}}, percentages=False) is None
    assert can_mirror(None, percentages=False) is None


def test_a_revision_is_named_by_backends_mirrors_and_the_service() -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "cars-2-predictor"}}}
    route = copy.deepcopy(ROUTE)
    route["spec"]["rules"][0]["filters"] = [mirror]
    service = {"kind": "Service", "spec": {"selector": {"serving.kserve.io/inferenceservice": "cars-3"}}}
    assert named_revisions([route, service]) == {"cars-1", "cars-2", "cars-3"}
