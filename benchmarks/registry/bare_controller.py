"""`python -m benchmarks.registry.bare_controller NAMESPACE`: the floor of the controller's latency.

It knows nothing. For each RolloutAction it turns the weights of the HTTPRoute of that name around by server-side apply,
as fast as a watch and a write let it; whatever a controller does besides, it reads and decides.
"""

from __future__ import annotations

import json
import sys

from registry.kubernetes.api import KubernetesApi, connect
from registry.kubernetes.resources import HTTP_ROUTES, ROLLOUT_ACTIONS, Manifest
from registry.kubernetes.writes import writing

_BARE = ("apiVersion", "kind", "metadata", "spec")


def turned(route: Manifest) -> Manifest:
    """Return a route as it is applied, with its weights the other way around."""
    rules = [rule | {"backendRefs": _turned(rule.get("backendRefs") or [])} for rule in route["spec"]["rules"]]
    metadata = {name: route["metadata"][name] for name in ("name", "namespace")}
    return {name: route[name] for name in _BARE} | {
        "metadata": metadata,
        "spec": {name: route["spec"][name] for name in ("parentRefs", "hostnames")} | {"rules": rules},
    }


def _turned(backends: list[Manifest]) -> list[Manifest]:
    weights = [backend["weight"] for backend in backends][::-1]
    return [backend | {"weight": weight} for backend, weight in zip(backends, weights, strict=True)]


def main(namespace: str) -> None:
    """Turn routes until the process is ended."""
    client = connect(10.0)
    api = KubernetesApi(client)
    routes = {one["metadata"]["name"]: one for one in api.list(HTTP_ROUTES, namespace)}
    for route in routes.values():
        route |= {"apiVersion": HTTP_ROUTES.api_version, "kind": HTTP_ROUTES.kind}
    path = ROLLOUT_ACTIONS.path(namespace)
    with client.stream("GET", path, params={"watch": "true", "timeoutSeconds": "7200"}, timeout=None) as answer:
        print("watching", flush=True)
        for line in answer.iter_lines():
            event = json.loads(line)
            name = event["object"].get("spec", {}).get("servedModel")
            if event["type"] == "ADDED" and name in routes:
                routes[name] = turned(routes[name])
                api.write(writing("apply", HTTP_ROUTES, routes[name]))


if __name__ == "__main__":
    main(sys.argv[1])
