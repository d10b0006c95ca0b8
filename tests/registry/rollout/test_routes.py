"""The routes that follow from a status: what HTTP and gRPC clients get, and by which hosts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from registry.api.served_model import HeaderMatch, ServedModelSpec
from registry.api.status import Attempt, ServedModelStatus
from registry.rollout.manifests import Owner, manifests
from tests.registry.rollout.world import spec

OWNER = Owner("fleet", "cars", "1")
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def routes(wanted: ServedModelSpec, **attempt: Any) -> dict[str, dict[str, Any]]:
    """Return the specs of the routes by kind, with a rollout that has come so far."""
    status = ServedModelStatus(
        stable_revision="fleet-1",
        candidate_revision="fleet-2",
        attempt=Attempt(id="fleet-2/1", step_started_at=NOW, **attempt),
    )
    return {found["kind"]: found["spec"] for found in manifests(OWNER, wanted, status, {}) if "Route" in found["kind"]}


def shares(rule: dict[str, Any]) -> dict[str, int]:
    """Return the weights of a rule by the Service that gets them."""
    return {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}


def test_grpc_clients_get_the_same_shares_by_hosts_of_their_own() -> None:
    found = routes(spec(), weight=10)
    expected = {"fleet-1-predictor": 90, "fleet-2-predictor": 10}
    assert [shares(rule) for rule in found["HTTPRoute"]["rules"]] == [expected]
    assert [shares(rule) for rule in found["GRPCRoute"]["rules"]] == [expected]
    assert (found["HTTPRoute"]["hostnames"], found["GRPCRoute"]["hostnames"]) == (
        ["fleet.example.com"],
        ["fleet-grpc.example.com"],
    )
    assert {backend["port"] for backend in found["GRPCRoute"]["rules"][0]["backendRefs"]} == {8081}


def test_without_hosts_for_grpc_there_is_no_grpc_route() -> None:
    whole = spec().dump()
    whole["route"]["grpcHostnames"] = []
    assert list(routes(ServedModelSpec.model_validate(whole))) == ["HTTPRoute"]


def test_a_header_sends_requests_of_both_kinds_to_the_candidate() -> None:
    found = routes(spec(), match=HeaderMatch(header="x-canary", value="yes"))
    for route in found.values():
        others, matched = route["rules"]
        assert matched["matches"] == [{"headers": [{"type": "Exact", "name": "x-canary", "value": "yes"}]}]
        assert (shares(matched), shares(others)) == ({"fleet-2-predictor": 1}, {"fleet-1-predictor": 100})


def test_where_a_step_asks_for_a_header_no_rule_comes_goes_or_moves_in_a_rollout() -> None:
    """Gateways know what they balance by a rule's place: another rule there is another revision, for a moment."""
    match, whole = HeaderMatch(header="x-canary", value="yes"), spec().dump()
    whole["rollout"]["steps"] = [{"match": match.dump()}, {"setWeight": 10}]
    wanted = ServedModelSpec.model_validate(whole)
    before, during, after = routes(wanted), routes(wanted, match=match), routes(wanted, weight=10, shadow_percent=100)
    for kind in ("HTTPRoute", "GRPCRoute"):
        assert before[kind]["rules"][0] == during[kind]["rules"][0]
        for found in (before, during, after):
            assert ["matches" in rule for rule in found[kind]["rules"]] == [False, True]
        for found in (before, after):
            everybody, matched = found[kind]["rules"]
            assert everybody == {name: value for name, value in matched.items() if name != "matches"}
        assert not during[kind]["rules"][1]["filters"], "a mirror is not left behind"


def test_only_http_requests_are_mirrored() -> None:
    found = routes(spec(), shadow_percent=50)
    (mirror,) = found["HTTPRoute"]["rules"][0]["filters"]
    assert mirror["requestMirror"]["percent"] == 50
    assert "filters" not in found["GRPCRoute"]["rules"][0]


def test_routes_are_attached_to_one_listener_where_that_is_wanted() -> None:
    whole = spec().dump()
    assert "sectionName" not in routes(ServedModelSpec.model_validate(whole))["HTTPRoute"]["parentRefs"][0]
    whole["route"]["gatewayRef"]["sectionName"] = "https"
    for route in routes(ServedModelSpec.model_validate(whole)).values():
        assert route["parentRefs"][0]["sectionName"] == "https"
