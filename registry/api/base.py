"""What all parts of the API have in common: names as Kubernetes writes them, and no field that nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel

from registry.api import group

GROUP, VERSION, API_VERSION = group.GROUP, group.VERSION, group.API_VERSION

# Values that Kubernetes checks: a label value that is also a DNS label, and a time.
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class ApiModel(BaseModel):
    """A part of a resource; immutable, camelCase outside and snake_case inside."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    def dump(self) -> dict[str, Any]:
        """Return it as the API server takes it, without what is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# A time with microseconds: a step's start is compared with others of the same second.
MicroTime = Annotated[datetime, PlainSerializer(_rfc3339, when_used="json")]


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Return CEL rules, each with its message, as a schema takes them."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}
