"""Telemetry for tests."""

from __future__ import annotations

from typing import Any

TIME = "2024-01-15T10:00:00Z"
VECTOR = [0.5, 0.3, 0.8, 1.2]


def record(**changes: Any) -> dict[str, Any]:
    """Return the issue's record with some fields changed; None removes one."""
    whole = {"vehicle_id": "VH-001", "timestamp": TIME, "feature_vector": VECTOR} | changes
    return {name: value for name, value in whole.items() if value is not None}


def batch(count: int = 1, **changes: Any) -> dict[str, Any]:
    """Return the body of an ingest of ``count`` records of as many vehicles."""
    return {"records": [record(vehicle_id=f"VH-{i:05}") for i in range(count)]} | changes
