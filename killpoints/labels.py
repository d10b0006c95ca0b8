"""What a write is called: the same in every run of a scenario, whatever the ServedModel's name and the time of day.

A write of a status is called after what the rollout is at, never after its messages: those tell what is waited for, and
depend on how quick the cluster is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from registry.kubernetes.resources import EVENTS, MODEL_REVISIONS, ROLLOUT_ACTIONS, SERVED_MODELS, Manifest
from registry.kubernetes.writes import Write

_ROLLOUT = (
    "stableRevision",
    "candidateRevision",
    "previousRevision",
    "attempts",
    "attempt",
    "paused",
    "rejectedRevisions",
)
_TIMES = {
    "at",
    "stepStartedAt",
    "trafficSince",
    "readyAt",
    "unavailableSince",
    "waitsSince",
    "samples",
    "message",
    "id",
}


def label(write: Write, served_model: str) -> str:
    """Return what a write is called in every run."""
    if write.resource == EVENTS:
        return f"create Event {write.manifest['reason']}"
    name = write.name.replace(served_model, "m", 1)
    return f"{write.verb} {write.resource.kind} {name}{_what(write, served_model)}"


def _what(write: Write, served_model: str) -> str:
    manifest = write.manifest
    if write.resource == SERVED_MODELS:
        return f" {_of_status(manifest['status'], served_model)}"
    if write.resource == MODEL_REVISIONS and "status" in manifest:
        status = manifest["status"]
        return f" {status['outcome']} {status.get('reason')} {status.get('weight')}"
    if write.resource == ROLLOUT_ACTIONS:
        return f" {manifest['status']['state']}"
    if manifest and "spec" in manifest and write.resource != MODEL_REVISIONS:
        return f" {_digest(manifest['spec'], served_model)}"
    return ""


def _of_status(status: Manifest, served_model: str) -> str:
    attempt = status.get("attempt") or {}
    at = f"step {attempt['step']} at {attempt['weight']} %" if attempt else "at rest"
    whole = {part: without_times(status.get(part)) for part in _ROLLOUT}
    whole["processed"] = len(status.get("processedActions") or ())
    whole["resolved"] = (status.get("resolved") or {}).get("revision")
    whole["baking"], whole["warm"] = "bakingUntil" in status, "warmUntil" in status
    return f"{status.get('phase')} {at} {_digest(whole, served_model)}"


def without_times(value: Any) -> Any:
    """Return a part of a status without what is another in every run."""
    if isinstance(value, dict):
        return {name: without_times(below) for name, below in value.items() if name not in _TIMES}
    if isinstance(value, list):
        return [without_times(below) for below in value]
    return value


def label_of_tags(number: str, tags: Mapping[str, str]) -> str:
    """Return what a write of an MLflow version's tags is called."""
    said = {name.rpartition(".")[2]: value for name, value in tags.items()}
    return f"MLflow tags of {number} {' '.join(said.get(name, '-') for name in ('outcome', 'weight'))}"


def _digest(value: Any, served_model: str) -> str:
    text = json.dumps(value, sort_keys=True).replace(f"{served_model}-", "m-")
    return hashlib.sha256(text.encode()).hexdigest()[:6]
