"""Objects of a rollout in several states, as the API server gives them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from registry.kubernetes.resources import DEPLOYMENTS, MODEL_REVISIONS, ROLLOUT_ACTIONS, SERVED_MODELS, Manifest
from registry.plugin.overview import Overview, overview
from registry.plugin.watching import Resources

NOW = datetime(2026, 3, 6, 12, 0, 0, tzinfo=UTC)
OLD, NEW = "cars-0a1b2c3d4e", "cars-5f6a7b8c9d"
STEPS: list[dict[str, Any]] = [
    {"shadow": {"percent": 100, "durationSeconds": 300}},
    {"setWeight": 10},
    {"pause": {"durationSeconds": 600}},
    {"gate": {"names": ["errors"]}},
    {"setWeight": 50},
    {"pause": {}},
    {"approval": {}},
]
GATES: list[dict[str, Any]] = [
    {"name": "flags", "mlflow": {"metric": "holdout_flag_rate", "max": 0.2, "maxIncrease": 0.05}},
    {
        "name": "errors",
        "prometheus": {"query": "rate(errors)", "max": 0.01, "minimumSamples": 500, "samplesQuery": "n"},
    },
]


def time(**ago: float) -> str:
    """Return a time so long ago."""
    return (NOW - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def served_model(status: dict[str, Any] | None = None, **spec: Any) -> Manifest:
    """Return the ServedModel `cars`; a status is filled up to one that rests."""
    resting = {
        "observedGeneration": 3,
        "phase": "Healthy",
        "message": f"{OLD} serves",
        "stableRevision": OLD,
        "resolved": {
            "version": "20260305000000",
            "mlflowVersion": "7",
            "digest": "sha256:aa",
            "revision": OLD,
            "at": time(),
        },
        "conditions": [],
    }
    return {
        "apiVersion": SERVED_MODELS.api_version,
        "kind": SERVED_MODELS.kind,
        "metadata": {
            "name": "cars",
            "namespace": "fleet",
            "uid": "0c1d",
            "generation": 3,
            "creationTimestamp": time(days=40),
        },
        "spec": {
            "model": {"name": "cars", "alias": "champion"},
            "predictor": {"image": "telltale/predictor:1", "modelStore": "s3://models/store"},
            "route": {"gatewayRef": {"name": "telltale"}, "hostnames": ["cars.example.com"]},
            "rollout": {"steps": STEPS, "progressDeadlineSeconds": 900},
            "rollback": {"autoWindowSeconds": 300, "keepWarmSeconds": 900},
            "gates": GATES,
            **spec,
        },
        "status": resting | (status or {}),
    }


def under_way(step: int, phase: str = "Progressing", message: str = "", **attempt: Any) -> dict[str, Any]:
    """Return the status of a rollout of NEW at a step."""
    begun = {"id": f"{NEW}/2", "step": step, "stepStartedAt": time(minutes=2), "weight": 0, **attempt}
    return {
        "phase": phase,
        "message": message or f"{NEW} gets {begun['weight']} % of the requests",
        "candidateRevision": NEW,
        "resolved": {
            "version": "20260306000000",
            "mlflowVersion": "8",
            "digest": "sha256:bb",
            "revision": NEW,
            "at": time(),
        },
        "attempt": begun,
    }


def revision(name: str, version: str, number: str, **status: Any) -> Manifest:
    """Return a ModelRevision."""
    digest = f"sha256:{name.partition('-')[2]}0123456789abcdef"
    return {
        "metadata": {"name": name, "namespace": "fleet", "creationTimestamp": time(days=9 - int(number))},
        "spec": {
            "servedModel": "cars",
            "model": "cars",
            "version": version,
            "mlflowVersion": number,
            "digest": digest,
            "predictor": {"image": "telltale/predictor:1"},
        },
        "status": status,
    }


def deployment(name: str, ready: int, wanted: int) -> Manifest:
    """Return a revision's Deployment."""
    return {
        "metadata": {"name": f"{name}-predictor", "namespace": "fleet"},
        "spec": {"replicas": wanted},
        "status": {"readyReplicas": ready} if ready else {},
    }


def action(
    kind: str, by: str, ago: float, state: str | None = "Applied", message: str = "", reason: str = ""
) -> Manifest:
    """Return a RolloutAction, created `ago` minutes ago."""
    return {
        "metadata": {"name": f"cars-{kind}-{ago}", "namespace": "fleet", "creationTimestamp": time(minutes=ago)},
        "spec": {"servedModel": "cars", "action": kind, "requestedBy": by, "reason": reason},
        "status": {"state": state, "message": message} if state else {},
    }


def resources(*, actions: tuple[Manifest, ...] = (), ready: int = 1) -> Resources:
    """Return what belongs to `cars`: both revisions and their pods."""
    revisions = [
        revision(OLD, "20260305000000", "7", outcome="Stable", servedFrom=time(days=1)),
        revision(NEW, "20260306000000", "8", outcome="Candidate"),
    ]
    return (
        Resources()
        .listed(MODEL_REVISIONS, revisions)
        .listed(DEPLOYMENTS, [deployment(OLD, 3, 3), deployment(NEW, ready, 2)])
        .listed(ROLLOUT_ACTIONS, list(actions))
    )


def seen(status: dict[str, Any] | None = None, *, actions: tuple[Manifest, ...] = (), **spec: Any) -> Overview:
    """Return the overview of a ServedModel."""
    return overview(served_model(status, **spec), resources(actions=actions))
