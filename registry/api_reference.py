"""The reference of every field, made from the schemas: the part of docs/registry-api.md between its two marks.

`python -m registry.api_reference PAGE` writes it into the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from registry.crds import KINDS, Kind, schema
from registry.structural import Schema

BEGIN = "<!-- fields: begin -->"
END = "<!-- fields: end -->"


def fields() -> str:
    """Return a section for each kind."""
    return "\n".join(_section(kind) for kind in KINDS).rstrip("\n")


def page_with(page: str, found: str) -> str:
    """Return a page with other text between the marks.

    Raises:
        ValueError: the page does not have both marks.

    """
    if BEGIN not in page or END not in page:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{found}\n{END}{rest.partition(END)[2]}"


def main(arguments: list[str] | None = None) -> int:
    """Write the fields into a page; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m registry.api_reference", description="Writes the reference of all fields into a page."
    )
    parser.add_argument("page", type=Path)
    page: Path = parser.parse_args(arguments).page
    page.write_text(page_with(page.read_text(encoding="utf-8"), fields()), encoding="utf-8")
    return 0


def _section(kind: Kind) -> str:
    whole = schema(kind)
    lines = [f"## {kind.resource.kind} (`{kind.short_name}`)", "", kind.about, ""]
    lines += [f'Refused with "{rule["message"]}".\n' for rule in whole.get("x-kubernetes-validations", ())]
    for part in ("spec", "status"):
        lines += ["", f"### {kind.resource.kind} {part}", "", whole["properties"][part]["description"], ""]
        lines += ["| field | type | | meaning |", "|---|---|---|---|"]
        lines += _rows(whole["properties"][part], "")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _rows(found: Schema, prefix: str) -> Iterator[str]:
    """Yield a row for each field below a schema."""
    for name, below in found.get("properties", {}).items():
        path = f"{prefix}{name}"
        required = name in found.get("required", ())
        yield f"| `{path}` | {_type(below)} | {_limits(below, required=required)} | {_meaning(below)} |"
        items = below.get("items", below)
        yield from _rows(items, f"{path}{'[]' if 'items' in below else ''}.")


def _type(found: Schema) -> str:
    if "items" in found:
        return f"list of {_type(found['items'])}"
    if "additionalProperties" in found:
        return f"map to {_type(found['additionalProperties'])}"
    if "enum" in found:
        return " \\| ".join(f"`{value}`" for value in found["enum"])
    return "time" if found.get("format") == "date-time" else str(found.get("type", "integer or string"))


def _limits(found: Schema, *, required: bool) -> str:
    said = ["required"] if required else []
    if "default" in found and not isinstance(found["default"], dict):
        said.append(f"default `{json.dumps(found['default'])}`")
    said += _bounds(found.get("items", found) if found.get("type") == "array" else found)
    many = [(least, most) for least, most in (("minItems", "maxItems"), ("minProperties", "maxProperties"))]
    said += [_span(found, least, most, " entries") for least, most in many if {least, most} & found.keys()]
    return "; ".join(said)


def _bounds(found: Schema) -> Iterator[str]:
    if {"minimum", "maximum"} & found.keys():
        yield _span(found, "minimum", "maximum", "")
    if "pattern" in found:
        yield f"`{found['pattern']}`".replace("|", "\\|")
    if {"minLength", "maxLength"} & found.keys():
        yield _span(found, "minLength", "maxLength", " characters")


def _span(found: Schema, least: str, most: str, unit: str) -> str:
    if least in found and most in found:
        return f"{found[least]} to {found[most]}{unit}"
    return f"at most {found[most]}{unit}" if most in found else f"at least {found[least]}{unit}"


def _meaning(found: Schema) -> str:
    rules = [*found.get("x-kubernetes-validations", ()), *found.get("items", {}).get("x-kubernetes-validations", ())]
    said = [str(found.get("description", "")), *(f'Refused with "{rule["message"]}".' for rule in rules)]
    return " ".join(said).replace("|", "\\|")


if __name__ == "__main__":
    raise SystemExit(main())
