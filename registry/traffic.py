"""Whether the gateway does with requests what the status wants. PURE.

A route counts as followed when it is as wanted, its gateway has accepted that very generation, and a moment has passed
in which the gateway's proxies can have heard of it. Where a gateway says nothing, a setting decides: by default nothing
is taken for granted, so a ServedModel whose gateway is missing never gets its first revision.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from registry.kubernetes.api import FIELD_MANAGER
from registry.kubernetes.comparison import is_as_wanted
from registry.kubernetes.resources import Manifest
from registry.rollout.manifests import REVISION_LABEL

_ROUTES = ("HTTPRoute", "GRPCRoute")


@dataclass(frozen=True)
class Following:
    """How far the gateway has followed; ``soon`` where only the moment for its proxies is missing."""

    in_sync: bool
    message: str = ""
    soon: bool = False


def following(
    wanted: Iterable[Manifest], live: Iterable[Manifest], *, settled: bool, needs_acceptance: bool
) -> Following:
    """Return how far the routes have been followed.

    Args:
        wanted: all objects that serve, as they follow from the status.
        live: all objects that are there.
        settled: whether the moment since the last change is over.
        needs_acceptance: whether a gateway that says nothing counts as one that has not followed.

    """
    there = {(route["kind"], route["metadata"]["name"]): route for route in live if route["kind"] in _ROUTES}
    routes = [manifest for manifest in wanted if manifest["kind"] in _ROUTES]
    for route in routes:
        known = there.pop((route["kind"], route["metadata"]["name"]), None)
        if known is None or not is_as_wanted(route, known, FIELD_MANAGER):
            return Following(False, f"the {route['kind']} is not as it should be")
        fault = _not_accepted(known, needs_acceptance=needs_acceptance)
        if fault is not None:
            return Following(False, f"the {route['kind']}: {fault}")
    if there:
        return Following(False, "a route is there that nothing should serve")
    return Following(True) if settled or not routes else Following(False, "the gateway is given a moment", soon=True)


def _not_accepted(route: Manifest, *, needs_acceptance: bool) -> str | None:
    """Return why the gateway has not followed a route, or None."""
    parents = route.get("status", {}).get("parents") or []
    wanted = [_parent(reference) for reference in route["spec"]["parentRefs"]]
    mine = [parent for parent in parents if _parent(parent.get("parentRef", {})) in wanted]
    if not mine:
        return f"{_named(route)} has not taken the route" if needs_acceptance else None
    for parent in mine:
        conditions = {condition["type"]: condition for condition in parent.get("conditions") or ()}
        for kind in ("Accepted", "ResolvedRefs"):
            condition = conditions.get(kind)
            if condition is None or condition.get("observedGeneration") != route["metadata"]["generation"]:
                return f"{_named(route)} has not followed yet"
            if condition["status"] != "True":
                return f"{_named(route)} does not take the route: {condition.get('message') or condition.get('reason')}"
    return None


def _named(route: Manifest) -> str:
    """Return a route's Gateway as people write it: a route of ours has one."""
    name, namespace = _parent(route["spec"]["parentRefs"][0])
    return f"the Gateway {namespace}/{name}"


def _parent(reference: Manifest) -> tuple[str | None, str | None]:
    return reference.get("name"), reference.get("namespace")


def can_mirror(gateway_class: Manifest | None, *, percentages: bool) -> bool | None:
    """Tell whether a GatewayClass copies requests (all, or a percentage of them); None where it does not say."""
    features = (gateway_class or {}).get("status", {}).get("supportedFeatures")
    if features is None:
        return None
    names = {feature["name"] if isinstance(feature, dict) else feature for feature in features}
    return ("HTTPRouteRequestPercentageMirror" if percentages else "HTTPRouteRequestMirror") in names


def named_revisions(live: Iterable[Manifest]) -> set[str]:
    """Return the revisions that a route still names, with or without weight, or that the Service selects."""
    found = set()
    for manifest in live:
        if manifest["kind"] in _ROUTES:
            for rule in manifest["spec"].get("rules") or ():
                found |= {_revision(backend) for backend in rule.get("backendRefs") or ()}
                found |= {
                    _revision(mirror["requestMirror"]["backendRef"])
                    for mirror in rule.get("filters") or ()
                    if "requestMirror" in mirror
                }
        elif manifest["kind"] == "Service":
            found.add((manifest["spec"].get("selector") or {}).get("serving.kserve.io/inferenceservice", ""))
    return found


def _revision(backend: Manifest) -> str:
    return str(backend["name"]).removesuffix("-predictor")


def revision_of(manifest: Manifest) -> str:
    """Return the revision that a labelled object belongs to."""
    return str(manifest["metadata"].get("labels", {}).get(REVISION_LABEL, ""))
