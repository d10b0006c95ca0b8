"""All that a rollout leaves behind, without times and the ServedModel's own name, so that runs can be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from killpoints.labels import without_times
from killpoints.models import Models
from registry.kubernetes.api import KubernetesApi
from registry.kubernetes.resources import (
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    SERVING,
    Manifest,
)
from registry.rollout.manifests import SERVED_MODEL_LABEL

FinalState = dict[str, Any]

_STATUS = (
    "phase",
    "stableRevision",
    "candidateRevision",
    "previousRevision",
    "attempts",
    "attempt",
    "paused",
    "rejectedRevisions",
)
_OUTCOME = ("outcome", "reason", "message", "weight", "by")


def final_state(api: KubernetesApi, namespace: str, name: str, models: Models) -> FinalState:
    """Return what is there of a ServedModel, and what MLflow was told."""
    found = api.get(SERVED_MODELS, namespace, name) or {}
    status = found.get("status") or {}
    selector = f"{SERVED_MODEL_LABEL}={name}"
    serving = [
        one for resource in SERVING for one in _with_kind(resource.kind, api.list(resource, namespace, selector))
    ]
    actions = [one for one in api.list(ROLLOUT_ACTIONS, namespace) if one["spec"]["servedModel"] == name]
    state: FinalState = {
        "status": {part: without_times(status.get(part)) for part in _STATUS},
        "resolved": (status.get("resolved") or {}).get("revision"),
        "conditions": {one["type"]: (one["status"], one["reason"]) for one in status.get("conditions") or ()},
        "processed": len(status.get("processedActions") or ()),
        "serving": sorted(_serving(one) for one in serving),
        "revisions": {one["metadata"]["name"]: _outcome(one) for one in api.list(MODEL_REVISIONS, namespace, selector)},
        "actions": {one["metadata"]["name"]: (one.get("status") or {}).get("state") for one in actions},
        "mlflow": _noted(models),
    }
    return canonical(state, namespace, name)


def canonical(state: FinalState, namespace: str, name: str) -> FinalState:
    """Return a state with the names of a ServedModel that is called `m`."""
    text = json.dumps(state, sort_keys=True)
    text = re.sub(rf"\b{re.escape(namespace)}[.-]{name}\b", "m", text)
    text = re.sub(rf"\b{name}\b", "m", text)
    # Why pods were not ready when the time was over depends on how far they had come.
    text = re.sub(r"(waits for its pods to be ready): [^,\"]*(, longer than)", r"\1\2", text)
    canonical_state: FinalState = json.loads(text)
    return canonical_state


def differences(found: Any, expected: Any, path: str = "") -> list[str]:
    """Return in what two states differ, a line each."""
    if isinstance(found, dict) and isinstance(expected, dict):
        names = sorted(found.keys() | expected.keys())
        return [line for name in names for line in differences(found.get(name), expected.get(name), f"{path}.{name}")]
    return [] if found == expected else [f"{path.lstrip('.')} is {found!r}, and undisturbed {expected!r}"]


def _with_kind(kind: str, objects: Iterable[Manifest]) -> list[Manifest]:
    return [one | {"kind": kind} for one in objects]


def _serving(live: Manifest) -> str:
    """Return what counts of an object that serves: KServe's own defaults are none of ours."""
    going = " on its way out" if "deletionTimestamp" in live["metadata"] else ""
    spec = live["spec"]
    if live["kind"].endswith("Route"):
        what = json.dumps([_rule(rule) for rule in spec["rules"]])
    elif live["kind"] == "Service":
        what = json.dumps(spec["selector"])
    else:
        what = str(spec["predictor"].get("minReplicas"))
    return f"{live['kind']} {live['metadata']['name']}{going} {what}"


def _rule(rule: Manifest) -> Manifest:
    backends = {one["name"]: one.get("weight") for one in rule["backendRefs"]}
    headers = [match["headers"] for match in rule.get("matches") or () if "headers" in match]
    return {"backends": backends, "headers": headers, "filters": rule.get("filters") or []}


def _outcome(revision: Manifest) -> Manifest:
    status = revision.get("status") or {}
    times = {part: part in status for part in ("servedFrom", "servedUntil")}
    return {part: status.get(part) for part in _OUTCOME} | times


def _noted(models: Models) -> Manifest:
    """Return what MLflow was told; its times are there, or they are not."""
    tags = {
        number: {
            name: bool(value) if name.rpartition(".")[2].startswith("served_") else value for name, value in of.items()
        }
        for number, of in models.tags.items()
    }
    return {"tags": tags, "aliases": models.noted_aliases}
