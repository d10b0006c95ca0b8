"""The documentation: complete, true, and readable without the internet."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from contract.telemetry import IngestBody, ScoreRecord
from predictor.facade.openapi import document
from predictor.problems import CONTENT_TYPE
from tests.predictor.running import Running

SCHEMA = document()
OPERATIONS = [(method, path) for path, methods in SCHEMA["paths"].items() for method in methods]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_has_an_example(method: str, path: str) -> None:
    """Good ones and problems alike."""
    for status, response in SCHEMA["paths"][path][method]["responses"].items():
        for content in response["content"].values():
            assert content.get("examples") or content.get("example"), status
        if int(status) >= 400 and path != "/health/ready":
            for example in response["content"][CONTENT_TYPE]["examples"].values():
                assert example["value"]["status"] == int(status)


def test_every_reference_leads_somewhere() -> None:
    """No schema is missing."""
    names = set(re.findall(r"#/components/schemas/(\w+)", msgspec.json.encode(SCHEMA).decode()))
    assert names <= set(SCHEMA["components"]["schemas"])


def test_the_examples_are_what_the_decoders_take() -> None:
    """A person who copies one gets no 422 for its form."""
    for example in _examples("/ingest"):
        msgspec.convert(example, IngestBody)
    for example in _examples("/score"):
        msgspec.convert(example, ScoreRecord | list[ScoreRecord])


def _examples(path: str) -> list[Any]:
    content = SCHEMA["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    return [example["value"] for example in content["examples"].values()]


@pytest.mark.integration
def test_the_examples_work_on_a_server(server: Running) -> None:
    """The ingests make the models that the scores ask for."""
    answers = [server.client.post("/ingest", json=example) for example in _examples("/ingest")]
    assert [answer.status_code for answer in answers] == [201] * len(answers)
    statuses = [server.client.post("/score", json=example).status_code for example in _examples("/score")]
    assert statuses == [200, 200, 404]  # the last names a version of the past


@pytest.mark.integration
def test_every_route_is_documented(server: Running) -> None:
    """All but the documentation itself."""
    served = {
        (method.lower(), route.path)
        for route in server.predictor.app.routes
        for method in getattr(route, "methods", None) or ()
        if not route.path.startswith(("/docs", "/openapi")) and route.path != "/"
    }
    assert {(method, path) for method, path in served if method != "head"} == set(OPERATIONS)
    assert server.client.get("/openapi.json").json() == msgspec.to_builtins(SCHEMA)


@pytest.mark.integration
def test_the_page_needs_no_internet(server: Running) -> None:
    """Everything that it loads comes from the server."""
    assert server.client.get("/").headers["location"] == "/docs"
    page = server.client.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page):
        answer = server.client.get(asset)
        assert answer.status_code == 200, asset
        assert len(answer.content) > 1000
    assert server.client.get("/docs/nothing.js").status_code == 404
