"""The documentation: complete, true, and readable without the internet."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
import schemathesis

from contract.telemetry import Limits, decode_ingest, decode_score, decode_score_lines
from predictor.facade.openapi import document
from predictor.facade.openapi_examples import BATCH, SCORE_LINES, VERSION
from predictor.v2 import rest
from standalone.embedded_postgres import EmbeddedPostgres
from store.local_objects import LocalObjectStore
from store.migrate import migrate
from tests.predictor.forests import publish, stump_forest
from tests.predictor.hotpath.documented import Documented, Json, Operation
from tests.predictor.hotpath.simulated_express import until
from tests.predictor.hotpath.wire import Wire, WireAnswer, request, wire
from tests.predictor.running import Running, running
from tests.predictor.simulated_trainer import SimulatedTrainer

SECRET = "a secret of the tests, which has more than 32 bytes"
MOST_BYTES = 4096
CONNECTIONS = 40
SAID = Documented(document(Limits(body_bytes=MOST_BYTES), authenticates=True))
ANSWERS = [(operation, status) for operation in SAID.operations for status in SAID.statuses(operation)]
NOW = time.time()
_subjects = count(1)


# The document by itself


def test_it_is_an_openapi_document() -> None:
    """By the specification's own schema."""
    schemathesis.openapi.from_dict(SAID.document).validate()


@pytest.mark.parametrize("operation", SAID.operations, ids=str)
def test_every_answer_has_an_example(operation: Operation) -> None:
    """Good ones and problems alike; but for bytes, which JSON cannot show."""
    for status in SAID.statuses(operation):
        for content in SAID.answer(operation, status)["content"].values():
            assert content.get("examples") or content["schema"].get("format") == "binary", status
            for example in content.get("examples", {}).values():
                value = example["value"]
                assert not isinstance(value, dict) or value.get("status", status) in (status, "ok", "alive", "degraded")


@pytest.mark.parametrize("operation", SAID.operations, ids=str)
def test_every_body_that_is_read_has_an_example(operation: Operation) -> None:
    for content_type, content in SAID.description(operation).get("requestBody", {"content": {}})["content"].items():
        assert content.get("examples") or content["schema"].get("format") == "binary", content_type


def test_every_example_keeps_its_schema() -> None:
    examples = list(SAID.examples())
    assert len(examples) > 400
    assert [(place, faults) for place, schema, value in examples if (faults := SAID.faults(schema, value))] == []


def test_every_reference_leads_somewhere() -> None:
    """No part is missing, and none is there in vain."""
    text = json.dumps(SAID.document)
    components = {
        f"#/components/{kind}/{name}"
        for kind, named in SAID.document["components"].items()
        for name in named
        if kind != "securitySchemes"
    }
    assert set(re.findall(r'"\$ref": "([^"]+)"', text)) == components


def test_the_examples_are_what_the_decoders_take() -> None:
    """A person who copies one gets no 422 for its form."""
    now, limits = datetime.now(UTC), Limits()
    for example in _examples("/ingest"):
        decode_ingest(json.dumps(example).encode(), now=now, limits=limits)
    for example in _examples("/score"):
        decode_score(json.dumps(example).encode(), now=now, limits=limits)
    assert len(decode_score_lines(SCORE_LINES.encode(), now=now, limits=limits)) == 2


def test_limits_are_those_of_the_server() -> None:
    limits = Limits(records=7, features=3, id_characters=11)
    schemas = Documented(document(limits)).document["components"]["schemas"]
    assert schemas["IngestBody"]["properties"]["records"]["maxItems"] == 7
    assert schemas["Record"]["properties"]["vehicle_id"]["maxLength"] == 11
    assert schemas["ScoreRecord"]["properties"]["feature_vector"]["anyOf"][0]["maxItems"] == 3


def test_tokens_are_optional_where_the_server_needs_none() -> None:
    """And are never needed for how the server is."""
    open_to_all = Documented(document())
    for operation in SAID.operations:
        needed = SAID.description(operation)["security"]
        assert open_to_all.description(operation)["security"] == ([*needed, {}] if needed else [])
        assert bool(needed) is (401 in SAID.statuses(operation))
    free = [str(one) for one in SAID.operations if not SAID.description(one)["security"]]
    assert free == [
        "GET /v2/health/live",
        "GET /v2/health/ready",
        "GET /health",
        "GET /health/ready",
        "GET /healthz",
        "GET /metrics",
        "GET /metrics/prometheus",
    ]


def test_every_type_of_problem_is_explained() -> None:
    """docs/errors.md has each slug that can be answered, with its status, and no other."""
    text = Path("docs/errors.md").read_text()
    explained = set(re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", text, re.MULTILINE))
    problems = {
        (value["type"].rpartition(":")[2], str(value["status"]))
        for _, _, value in SAID.examples()
        if isinstance(value, dict) and "request_id" in value
    }
    # CONNECT has no path that could be documented, and this one stands for whatever Starlette may refuse.
    assert explained == problems | {("bad-request", "400")}


# The document against a server


@dataclass(frozen=True)
class Scene:
    """A server that asks for tokens, limits requests, takes small bodies and few connections; and who trains for it."""

    server: Running
    trainer: SimulatedTrainer

    def ask(self, operation: Operation, *headers: str, **changes: Any) -> WireAnswer:
        """Send the operation's first example on a connection of its own, with some things changed."""
        with wire(self.server.port) as connection:
            return connection.ask(raw_of(operation, *headers, **changes))


@pytest.fixture(scope="module")
def scene(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One server for all answers."""
    folder: Path = tmp_path_factory.mktemp("openapi")
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE openapi")
    url = f"{postgres_server.url.rpartition('/')[0]}/openapi"
    migrate(url)
    objects = LocalObjectStore(folder)
    trainer = SimulatedTrainer(url, objects)
    trainer.start()
    changes = {"auth_secret": SECRET, "rate_limit": 0.01, "rate_limit_burst": 3, "max_body_bytes": MOST_BYTES}
    changes |= {"max_connections": CONNECTIONS, "header_seconds": 0.5, "ingest_wait_seconds": 10}
    with running(url, folder, **changes) as server:
        until(lambda: server.client.get("/v2/health/live").status_code == 200)
        ingest = SAID.operation("post", "/ingest")
        scene = Scene(server, trainer)
        for name in ("positions", "names"):
            assert scene.ask(ingest, body=_example(ingest, name)).status == 201
        publish(trainer.models, "default", VERSION, stump_forest(("f0", "f1", "f2", "f3")))
        until(lambda: server.client.get("/health/ready").status_code == 200)
        yield scene
    trainer.stop()


def bearer(scope: str, subject: str | None = None) -> str:
    """An Authorization header; the token is of a subject whom the server has never seen, unless one is named."""
    payload = {"sub": subject or f"subject-{next(_subjects)}", "exp": int(NOW) + 3600, "scope": scope}
    return f"Authorization: Bearer {jwt.encode(payload, SECRET, 'HS256')}"


def scope_of(operation: Operation) -> str | None:
    needed = SAID.description(operation)["security"]
    return next(iter(needed[0]["bearer"])) if needed else None


def path_of(operation: Operation, **changes: str) -> str:
    """The path with its parameters' examples."""
    path = operation.template
    for parameter in SAID.description(operation)["parameters"]:
        said = SAID.resolved(parameter)
        if said["in"] == "path":
            path = path.replace("{" + said["name"] + "}", changes.get(said["name"], said["example"]))
    return path


def _examples(path: str) -> list[Any]:
    said = SAID.description(SAID.operation("post", path))["requestBody"]["content"]["application/json"]
    return [example["value"] for example in said["examples"].values()]


def _example(operation: Operation, name: str | None = None) -> bytes:
    said = SAID.description(operation).get("requestBody")
    if said is None:
        return b""
    examples = said["content"]["application/json"]["examples"]
    chosen = examples[name] if name else next(iter(examples.values()))
    return json.dumps(chosen["value"]).encode()


def raw_of(
    operation: Operation,
    *headers: str,
    body: bytes | None = None,
    path: str | None = None,
    method: str | None = None,
    token: str | None = None,
    content_type: str | None = "application/json",
) -> bytes:
    """A request of an operation; with a token that is good for it, if it needs one."""
    scope = scope_of(operation)
    authorization = [token or bearer(scope)] if scope and token != "none" else []
    sent = _example(operation) if body is None else body
    return request(
        path or path_of(operation),
        sent,
        *authorization,
        *headers,
        method=method or operation.method.upper(),
        content_type=content_type if sent else None,
    )


def _good(scene: Scene, operation: Operation) -> WireAnswer:
    path = path_of(operation)
    if operation.template == "/ingest/{job}":
        with scene.trainer.postgres.transaction() as connection:
            row = connection.execute("SELECT id::text FROM batches LIMIT 1").fetchone()
        path = f"/ingest/{row[0]}" if row else path
    return scene.ask(operation, path=path)


def _accepted(scene: Scene, operation: Operation) -> WireAnswer:
    return scene.ask(operation, "Prefer: respond-async")


def _malformed(scene: Scene, operation: Operation) -> WireAnswer:
    if operation.template.endswith("load"):
        return scene.ask(operation)
    if "requestBody" in SAID.description(operation):
        return scene.ask(operation, body=b"{")
    return scene.ask(operation, "Content-Length: x")


def _unknown(scene: Scene, operation: Operation) -> WireAnswer:
    if operation.template == "/score":
        body = json.loads(_example(operation)) | {"model": "nobody"}
        return scene.ask(operation, body=json.dumps(body).encode())
    changes = {"name": "nobody", "job": BATCH, "version": "20230101000000"}
    if operation.template.endswith("load"):  # nothing is looked up: only a path that is none
        changes["name"] = "a:b"
    return scene.ask(operation, path=path_of(operation, **changes))


def _busy(scene: Scene, operation: Operation) -> WireAnswer:
    """A key whose first request waits for its training."""
    scene.trainer.order = "hold"
    raw = raw_of(operation, "Idempotency-Key: busy")
    try:
        with wire(scene.server.port) as first:
            had = scene.trainer.count()
            first.send(raw)
            until(lambda: scene.trainer.count() > had)
            answer = scene.ask(operation, "Idempotency-Key: busy")
            scene.trainer.order = "serve"
            assert first.answer().status == 201
    finally:
        scene.trainer.order = "serve"
    return answer


def _slow(scene: Scene, operation: Operation) -> WireAnswer:
    with wire(scene.server.port) as connection:
        return connection.ask(raw_of(operation)[:30])


def _often(scene: Scene, operation: Operation) -> WireAnswer:
    token = bearer(scope_of(operation) or "", "often")
    answers = [scene.ask(operation, token=token) for _ in range(4)]
    return answers[-1]


def _wrong(scene: Scene, operation: Operation) -> WireAnswer:
    body = json.dumps({"records": []} if operation.template == "/ingest" else []).encode()
    return scene.ask(operation, body=body)


def _broken(scene: Scene, operation: Operation) -> WireAnswer:
    """What nobody expected, in the middle of the server."""
    frame = scene.server.predictor.early.frame

    def breaks(*_: object) -> Any:
        raise RuntimeError("what nobody expected")

    frame.admit = frame.admit_quickly = breaks  # type: ignore[method-assign]
    try:
        return scene.ask(operation)
    finally:
        del frame.admit, frame.admit_quickly


def _too_many(scene: Scene, operation: Operation) -> WireAnswer:
    with ExitStack() as stack:
        others: list[Wire] = [stack.enter_context(wire(scene.server.port)) for _ in range(CONNECTIONS)]
        assert len(others) == CONNECTIONS
        until(lambda: len(scene.server.server.server_state.connections) == CONNECTIONS)
        return scene.ask(operation)


PROVOKED: dict[int, Callable[[Scene, Operation], WireAnswer]] = {
    200: _good,
    201: _good,
    202: _accepted,
    400: _malformed,
    401: lambda scene, operation: scene.ask(operation, token="none"),
    403: lambda scene, operation: scene.ask(operation, token=bearer("models:write")),
    404: _unknown,
    405: lambda scene, operation: scene.ask(operation, method="DELETE"),
    408: _slow,
    409: _busy,
    413: lambda scene, operation: scene.ask(operation, body=b" " * (MOST_BYTES + 1)),
    414: lambda scene, operation: scene.ask(operation, path=f"{path_of(operation)}?{'x' * 8192}"),
    415: lambda scene, operation: scene.ask(operation, "Content-Encoding: gzip", content_type="application/json"),
    422: _wrong,
    429: _often,
    431: lambda scene, operation: scene.ask(operation, f"X: {'x' * 33_000}"),
    500: _broken,
    503: _too_many,
}


@pytest.mark.integration
@pytest.mark.parametrize(("operation", "status"), ANSWERS, ids=str)
def test_the_server_answers_as_documented(scene: Scene, operation: Operation, status: int) -> None:
    """Every status of every operation is provoked, and is documented with its headers and its body."""
    answer = PROVOKED[status](scene, operation)
    assert answer.status == status, answer.body
    SAID.check(operation, answer.status, answer.headers, answer.body)


@pytest.mark.integration
def test_the_examples_work_on_a_server(server: Running) -> None:
    """The ingests make the models that the scores ask for."""
    answers = [server.client.post("/ingest", json=example) for example in _examples("/ingest")]
    assert [answer.status_code for answer in answers] == [201] * len(answers)
    statuses = [server.client.post("/score", json=example).status_code for example in _examples("/score")]
    assert statuses == [200, 200, 404]  # the last names a version of the past


@pytest.mark.integration
def test_every_route_is_documented(scene: Scene) -> None:
    """All but the documentation itself; and the document is the one that the server shows."""
    facade: Any = scene.server.predictor.facade.value
    served = {
        (method.lower(), route.path)
        for route in facade.routes
        for method in getattr(route, "methods", None) or ()
        if not route.path.startswith(("/docs", "/openapi")) and route.path != "/"
    }
    protocol: Any = rest
    served |= {(one.method.lower(), one.template) for one in protocol._paths(_Anything())}
    documented = {(operation.method, operation.template) for operation in SAID.operations}
    assert {(method, path) for method, path in served if method != "head"} == documented
    assert scene.server.client.get("/openapi.json").json() == SAID.document


class _Anything:
    """Has whatever is asked of it."""

    def __getattr__(self, name: str) -> str:
        return name


@pytest.mark.integration
def test_the_page_needs_no_internet(scene: Scene) -> None:
    """Everything that it loads comes from the server."""
    client = scene.server.client
    assert client.get("/").headers["location"] == "/docs"
    page = client.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    assert "'/openapi.json'" in page
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page):
        answer = client.get(asset)
        assert answer.status_code == 200, asset
        assert len(answer.content) > 1000
    assert client.get("/docs/nothing.js").status_code == 404


def test_what_differs_from_the_document_is_found() -> None:
    """Else the tests above would show nothing."""
    operation = SAID.operation("post", "/score")
    good = [("content-type", "application/json"), ("x-request-id", "1")]
    score: Json = {"vehicle_id": "v", "anomaly_score": 0.1, "is_anomaly": False, "model_version": VERSION}
    SAID.check(operation, 200, good, json.dumps(score).encode())
    wrong: list[tuple[int, list[tuple[str, str]], Json]] = [
        (299, good, score),
        (200, good[:1], score),
        (200, [*good, ("x-else", "1")], score),
        (200, [("content-type", "text/html"), good[1]], score),
        (200, good, score | {"anomaly_score": "0.1"}),
        (429, [("content-type", "application/problem+json"), good[1]], score),
    ]
    for status, headers, body in wrong:
        with pytest.raises(AssertionError):
            SAID.check(operation, status, headers, json.dumps(body).encode())
