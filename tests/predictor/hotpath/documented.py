"""Holds answers of a real server against the OpenAPI document: whatever it does not say, the server must not do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import msgspec

Json = dict[str, Any]
# What an answer may carry beside what is documented: HTTP's own, and CORS, which is the same everywhere.
_ANYWHERE = ("date", "content-type", "content-length", "connection", "transfer-encoding", "vary")


@dataclass(frozen=True)
class Operation:
    """A method on a path's template."""

    method: str
    template: str

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.template}"


class Documented:
    """A document, to look things up in."""

    def __init__(self, document: Json) -> None:
        self.document: Json = msgspec.to_builtins(document)
        self.operations = [
            Operation(method, template) for template, path in self.document["paths"].items() for method in path
        ]

    def operation(self, method: str, path: str) -> Operation:
        """The operation of a request."""
        for known in self.operations:
            pattern = re.sub(r"\\{\w+\\}", "[^/:]+", re.escape(known.template))
            if known.method == method.lower() and re.fullmatch(pattern, path):
                return known
        raise AssertionError(f"{method} {path} is not documented")

    def description(self, operation: Operation) -> Json:
        """All that is said about an operation."""
        found: Json = self.document["paths"][operation.template][operation.method]
        return found

    def statuses(self, operation: Operation) -> list[int]:
        """The statuses that an operation answers."""
        return [int(status) for status in self.description(operation)["responses"]]

    def answer(self, operation: Operation, status: int) -> Json:
        """What is said about a status of an operation."""
        responses = self.description(operation)["responses"]
        assert str(status) in responses, f"{operation} answers {status}, which is not documented"
        return self.resolved(responses[str(status)])

    def resolved(self, node: Json) -> Json:
        """A part of the document, or what it refers to."""
        while "$ref" in node:
            found: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            node = found
        return node

    def faults(self, schema: Json, value: object) -> list[str]:
        """What is wrong with a value by its schema."""
        whole = {**schema, "components": self.document["components"]}
        checker = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        return [f"{fault.instance_path}: {fault.message}" for fault in checker.iter_errors(value)]

    def examples(self) -> Iterator[tuple[str, Json, Any]]:
        """Every example of a body: where it stands, its schema, and its value."""
        for operation in self.operations:
            said = self.description(operation)
            bodies = {status: self.resolved(one) for status, one in said["responses"].items()}
            if "requestBody" in said:
                bodies["request"] = said["requestBody"]
            for place, body in bodies.items():
                for content_type, form in body["content"].items():
                    for name, example in form.get("examples", {}).items():
                        yield f"{operation} {place} {content_type} {name}", form["schema"], example["value"]

    def check(self, operation: Operation, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Fail unless an answer is as documented: its status, its form, its headers, its body."""
        said = self.answer(operation, status)
        fields = {name.lower(): value for name, value in headers}
        self._check_headers(f"{operation} {status}", said["headers"], fields)
        content_type = fields["content-type"].partition(";")[0]
        assert content_type in said["content"], f"{operation} {status} is {content_type}: {body[:200]!r}"
        schema = said["content"][content_type]["schema"]
        if schema.get("format") == "binary":
            return
        value = json.loads(body) if content_type.endswith("json") and "x-" not in content_type else body.decode()
        assert self.faults(schema, value) == [], f"{operation} {status}: {body[:400]!r}"

    def _check_headers(self, place: str, said: Json, fields: dict[str, str]) -> None:
        documented = {name.lower(): self.resolved(header) for name, header in said.items()}
        for name, header in documented.items():
            assert name in fields or not header["required"], f"{place} has no {name}"
            if name in fields:
                value = int(fields[name]) if header["schema"]["type"] == "integer" else fields[name]
                assert self.faults(header["schema"], value) == [], f"{place}: {name}: {value}"
        more = [name for name in fields if name not in documented and name not in _ANYWHERE]
        assert more == [], f"{place} has headers that are not documented: {more}"
