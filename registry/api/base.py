"""What all parts of the API have in common: names as Kubernetes writes them, and no field that nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from registry.api import group

GROUP, VERSION, API_VERSION = group.GROUP, group.VERSION, group.API_VERSION

# Names as Kubernetes checks them. The API server's expressions are Go's and pydantic's are Rust's: both know these.
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_LABEL = rf"^{_DNS_LABEL}$"
DNS_SUBDOMAIN = rf"^{_DNS_LABEL}(\.{_DNS_LABEL})*$"
HOSTNAME = rf"^(\*\.)?{_DNS_LABEL}(\.{_DNS_LABEL})*$"


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


def _written(amount: object) -> object:
    return str(amount) if type(amount) is int else amount


def _amount(pattern: str) -> Any:
    whole = rules(("type(self) == string || int(self) > 0", "an amount must be more than 0"))
    extra = whole | {"x-kubernetes-int-or-string": True}
    return Field(max_length=32, pattern=pattern, json_schema_extra=extra)


# Amounts may also be written as whole numbers, as in `cpu: 1`. Pydantic's schema has the pattern in this order alone.
Cpu = Annotated[str, _amount(r"^[0-9]+(\.[0-9]+)?m?$"), BeforeValidator(_written)]
Memory = Annotated[str, _amount(r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"), BeforeValidator(_written)]
