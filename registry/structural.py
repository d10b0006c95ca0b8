"""Structural OpenAPI v3 schemas, as Kubernetes takes them, from pydantic models. PURE.

Kubernetes takes a small part of JSON Schema: no references, no titles, no null. What this does not know it refuses, so
a model that says more than a schema can say is noticed when the schema is made, and not in a cluster.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

Schema = dict[str, Any]

_PLAIN: Final = frozenset(
    {
        "description",
        "enum",
        "format",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
        "required",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    }
)
_DROPPED: Final = frozenset({"$defs", "title"})
_RULES: Final = "x-kubernetes-validations"
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"
_LARGEST_INT32: Final = 2**31 - 1


class NotStructuralError(ValueError):
    """A model says something that a structural schema cannot say."""


def structural(model: type[BaseModel], *, defaults: bool) -> Schema:
    """Return a model's schema.

    Args:
        model: camelCase by its aliases.
        defaults: whether the API server is to fill in what is left out; not in a status, which is written as a whole.

    Raises:
        NotStructuralError: the model says something that Kubernetes does not know.

    """
    document = model.model_json_schema(by_alias=True, ref_template="{model}")
    return _Conversion(document.get("$defs", {}), defaults=defaults).of(document, model.__name__)


class _Conversion:
    """A walk through one document; references are looked up in ``definitions``."""

    def __init__(self, definitions: Schema, *, defaults: bool) -> None:
        self._definitions, self._defaults = definitions, defaults

    def of(self, schema: Schema, where: str) -> Schema:
        """Return a schema's structural form; ``where`` it is, for people."""
        schema = self._resolved(schema, where)
        found: Schema = {}
        for keyword, value in schema.items():
            if keyword == "properties":
                found[keyword] = {name: self.of(below, f"{where}.{name}") for name, below in value.items()}
            elif keyword in ("items", "additionalProperties"):
                found[keyword] = self.of(value, f"{where}[]")
            elif keyword == "description":
                found[keyword] = " ".join(value.split())
            elif keyword == "default":
                found |= self._default(value)
            elif keyword in _PLAIN:
                found[keyword] = value
            elif keyword not in _DROPPED:
                raise NotStructuralError(f"{where}: a structural schema has no {keyword}")
        return dict(sorted(_as_kubernetes_types(found, where).items()))

    def _resolved(self, schema: Schema, where: str) -> Schema:
        """Return a schema without references and without null; what stands beside a reference goes first."""
        if "$ref" in schema:
            beside = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
            referred = self._definitions[schema["$ref"]]
            if _RULES in beside and _RULES in referred:
                raise NotStructuralError(f"{where}: rules stand at the field or at its model, and not at both")
            return self._resolved(referred | beside, where)
        if "anyOf" in schema:
            alternatives = [one for one in schema["anyOf"] if one != {"type": "null"}]
            if len(alternatives) != 1:
                raise NotStructuralError(f"{where}: a field has one type, not one of {len(alternatives)}")
            beside = {keyword: value for keyword, value in schema.items() if keyword != "anyOf"}
            return self._resolved(alternatives[0] | beside, where)
        return schema

    def _default(self, value: Any) -> Schema:
        return {"default": _without_null(value)} if self._defaults and value is not None else {}


def _as_kubernetes_types(schema: Schema, where: str) -> Schema:
    if schema.get(_INT_OR_STRING):
        del schema["type"]
        return schema | {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    if "type" not in schema:
        raise NotStructuralError(f"{where}: a field has a type")
    if schema["type"] == "integer":
        schema["format"] = "int32" if schema.get("maximum", _LARGEST_INT32 + 1) <= _LARGEST_INT32 else "int64"
    elif schema["type"] == "number":
        schema["format"] = "double"
    return schema


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(below) for name, below in value.items() if below is not None}
    return value
