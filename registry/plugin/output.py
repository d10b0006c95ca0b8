"""What is printed for programs: JSON and YAML, in the camelCase of Kubernetes. PURE."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

Format = Literal["json", "yaml"]


def printed(value: Any, as_format: Format) -> str:
    """Return a document, or a list of them."""
    document = plain(value)
    if as_format == "json":
        return json.dumps(document, indent=2, ensure_ascii=False)
    import yaml  # noqa: PLC0415 - only who asks for it pays for it

    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True)).rstrip()


def plain(value: Any) -> Any:
    """Return dataclasses and times as JSON has them; manifests stay as they are."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {_camel(field.name): plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)
