"""Who owns which field of an object, as far as the controller's server-side apply goes. PURE.

A field is a path of names to a value that is no object; a list is one value, as the lists of the routes are. The owners
are told as the API server tells them, in `managedFields`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from registry.kubernetes.resources import Manifest

Path = tuple[str, ...]
Owners = dict[str, frozenset[Path]]


def leaves(value: Manifest, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every field with its value."""
    for name, below in value.items():
        if isinstance(below, dict) and below:
            yield from leaves(below, (*path, name))
        else:
            yield (*path, name), below


def applied(live: Manifest, owners: Owners, wanted: Manifest, manager: str) -> tuple[Manifest, Owners]:
    """Return an object after ``manager`` applied ``wanted`` by force: what only it had and no longer wants, goes."""
    new = dict(leaves(wanted))
    fields = dict(leaves(live))
    changed = {path for path, value in new.items() if path in fields and fields[path] != value}
    given_up = owners.get(manager, frozenset()) - new.keys()
    others = {name: paths - changed for name, paths in owners.items() if name != manager}
    kept = frozenset().union(*others.values())
    fields = {path: value for path, value in fields.items() if path not in given_up or path in kept} | new
    return _built(fields), {name: paths for name, paths in others.items() if paths} | {manager: frozenset(new)}


def updated(live: Manifest, owners: Owners, wanted: Manifest, manager: str) -> tuple[Manifest, Owners]:
    """Return an object after ``manager`` replaced it by ``wanted``: it owns what it changed."""
    new, fields = dict(leaves(wanted)), dict(leaves(live))
    changed = frozenset(path for path, value in new.items() if path not in fields or fields[path] != value)
    left = {name: (paths & new.keys()) - changed for name, paths in owners.items()}
    left[manager] = left.get(manager, frozenset()) | changed
    return wanted, {name: frozenset(paths) for name, paths in left.items() if paths}


def managed_fields(owners: Owners) -> list[Manifest]:
    """Return who owns what of the spec, as the API server says it."""
    found = []
    for manager, paths in owners.items():
        tree: dict[str, Any] = {}
        for path in paths:
            below = tree
            for name in path:
                below = below.setdefault(f"f:{name}", {})
        found.append({"manager": manager, "fieldsV1": {"f:spec": tree}})
    return found


def _built(fields: dict[Path, Any]) -> Manifest:
    found: Manifest = {}
    for path, value in fields.items():
        below = found
        for name in path[:-1]:
            below = below.setdefault(name, {})
        below[path[-1]] = value
    return found
