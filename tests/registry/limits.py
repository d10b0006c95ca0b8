"""For each limit of a structural schema, a value that breaks it. PURE."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from registry.structural import Schema

Path = tuple[str | int, ...]
_WRONG_TYPE: dict[str, object] = {
    "string": 5,
    "integer": "x",
    "number": "x",
    "boolean": "x",
    "object": "x",
    "array": "x",
}
_MISSING = object()


@dataclass(frozen=True)
class Violation:
    """A value that breaks one limit.

    Args:
        path: where it is put.
        keyword: the limit.
        value: what is put there; for `required` nothing is.

    """

    path: Path
    keyword: str
    value: Any

    def __str__(self) -> str:
        return f"{self.field} {self.keyword}"

    @property
    def field(self) -> str:
        """The path as the API server writes it."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return "".join(parts).removeprefix(".")

    def put_into(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return ``manifest`` with the value in its place."""
        whole = deepcopy(manifest)
        place: Any = whole
        for part, after in zip(self.path, self.path[1:], strict=False):
            place = _below(place, part, [] if isinstance(after, int) else {})
        last = self.path[-1]
        if self.value is _MISSING:
            place.pop(last, None)
        elif isinstance(last, int):
            place[:] = [self.value]
        else:
            place[last] = self.value
        return whole


def _below(place: Any, part: str | int, empty: Any) -> Any:
    if isinstance(part, int):
        if not place:
            place.append(empty)
        return place[part]
    return place.setdefault(part, empty)


def violations(schema: Schema, path: Path) -> Iterator[Violation]:
    """Yield a violation of each limit of a schema and of all below it."""
    yield from (Violation(path, keyword, value) for keyword, value in _own(schema))
    for name, below in schema.get("properties", {}).items():
        if name in schema.get("required", ()):
            yield Violation((*path, name), "required", _MISSING)
        yield from violations(below, (*path, name))
    if "items" in schema:
        yield from violations(schema["items"], (*path, 0))
    if "additionalProperties" in schema:
        yield from violations(schema["additionalProperties"], (*path, "A"))


def _own(schema: Schema) -> Iterator[tuple[str, Any]]:
    yield "type", _WRONG_TYPE.get(schema.get("type", ""), True)
    if "enum" in schema:
        yield "enum", "NoSuch"
    if "pattern" in schema:
        tried = (bad * schema.get("minLength", 1) for bad in ("!", "="))
        yield "pattern", next(bad for bad in tried if re.search(schema["pattern"], bad) is None)
    for keyword, step in (("minimum", -1), ("maximum", 1)):
        if keyword in schema:
            yield keyword, schema[keyword] + step
    for keyword, step in (("minLength", -1), ("maxLength", 1)):
        if keyword in schema:
            yield keyword, "a" * (schema[keyword] + step)
    yield from _of_many(schema)


def _of_many(schema: Schema) -> Iterator[tuple[str, Any]]:
    for keyword, step in (("minItems", -1), ("maxItems", 1)):
        if keyword in schema:
            yield keyword, [_sample(schema["items"], number) for number in range(schema[keyword] + step)]
    if "maxProperties" in schema:
        below = schema["additionalProperties"]
        yield "maxProperties", {f"A{number}": _sample(below, number) for number in range(schema["maxProperties"] + 1)}
    if schema.get("x-kubernetes-list-type") in ("set", "map"):
        yield "duplicate", [_sample(schema["items"], 1), _sample(schema["items"], 1)]


def _sample(schema: Schema, number: int) -> Any:
    """Return a small value of the right type, different for each number where that can be."""
    if schema.get("type") == "object":
        required = schema.get("required", ())
        return {name: _sample(schema["properties"][name], number) for name in required}
    return number if schema.get("type") in ("integer", "number") else f"a{number}"
