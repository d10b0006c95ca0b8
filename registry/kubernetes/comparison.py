"""Whether an object is as it should be, in spite of what others add to it. PURE.

The API server and KServe's webhook fill in defaults, so equality is of no use: what we want must be there as we want
it, and in `spec` there must be nothing that another field manager put there.
"""

from __future__ import annotations

from typing import Any

from registry.kubernetes.resources import Manifest


def is_as_wanted(wanted: Manifest, live: Manifest, manager: str) -> bool:
    """Tell whether ``live`` has everything of ``wanted``, and nobody but ``manager`` has added to its spec."""
    return _holds(live, wanted) and not has_foreign_fields(live, manager)


def has_foreign_fields(live: Manifest, manager: str) -> bool:
    """Tell whether another field manager owns something of the spec that ``manager`` does not own as well."""
    ours: dict[str, Any] = {}
    others: list[dict[str, Any]] = []
    for entry in live.get("metadata", {}).get("managedFields") or ():
        fields = {key: below for key, below in entry.get("fieldsV1", {}).items() if key == "f:spec"}
        if not fields or entry.get("subresource"):
            continue
        if entry.get("manager") == manager:
            ours = _merged(ours, fields)
        else:
            others.append(fields)
    return any(_exceeds(fields, ours) for fields in others)


def _holds(live: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            _holds(live[key], value) if key in live else value in ({}, []) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(_holds(there, value) for there, value in zip(live, wanted, strict=True))
        )
    return bool(live == wanted)


def _merged(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(left[key], right[key]) for key in left.keys() & right.keys()}
    return left | right | both


def _exceeds(fields: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Tell whether ``fields`` has a leaf that is not among ours; a leaf of ours stands for all below it."""
    for key, below in fields.items():
        if key == ".":
            continue
        if key not in ours:
            return True
        if ours[key] and _exceeds(below, ours[key]):
            return True
    return False
