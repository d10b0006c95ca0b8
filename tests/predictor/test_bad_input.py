"""Every bad input of the first issue's list: a 4xx problem document that names the place, and nothing changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from standalone.embedded_postgres import EmbeddedPostgres
from store.local_objects import LocalObjectStore
from store.migrate import migrate
from tests.predictor.records import batch, record
from tests.predictor.running import Running, running
from tests.predictor.simulated_trainer import SimulatedTrainer

pytestmark = pytest.mark.integration

MEGABYTE = 1024 * 1024
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Scene:
    """A server whose model ``default`` is served, and all that a bad request could change."""

    server: Running
    trainer: SimulatedTrainer
    objects: LocalObjectStore
    version: str

    def state(self) -> tuple[object, ...]:
        """Return what must stay the same."""
        with self.trainer.postgres.transaction() as connection:
            tables = [
                connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
                for table in ("models", "batches", "idempotency_keys", "served_versions", "procrastinate_jobs")
            ]
        return (*tables, list(self.objects.keys("")))


@pytest.fixture(scope="module")
def scene(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One server for all bad inputs: none may change it."""
    folder: Path = tmp_path_factory.mktemp("bad_input")
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE bad_input")
    url = f"{postgres_server.url.rpartition('/')[0]}/bad_input"
    migrate(url)
    objects = LocalObjectStore(folder)
    trainer = SimulatedTrainer(url, objects)
    trainer.start()
    with running(url, folder) as server:
        version = server.client.post("/ingest", json=batch()).json()["model_version"]
        named = {"model": "named", "records": [record(feature_vector=None, features={"a": 1.0, "b": 2.0})]}
        assert server.client.post("/ingest", json=named).status_code == 201
        yield Scene(server, trainer, objects, version)
    trainer.stop()


def refused(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Return the problem document of a response after checking its form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["type"] == f"urn:telltale:problem:{slug}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    return problem


def _ahead(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


# What is wrong with a record: its changes, the field that is named, and what the message must say.
WRONG_RECORDS = {
    "a number as id": ({"vehicle_id": 7}, "/vehicle_id", "a string; got a number: 7"),
    "an id that is missing": ({"vehicle_id": None}, "/vehicle_id", "is missing"),
    "an empty id": ({"vehicle_id": ""}, "/vehicle_id", "1 to 256 characters; got 0"),
    "an id of 10k characters": ({"vehicle_id": "x" * 10_000}, "/vehicle_id", "1 to 256 characters; got 10000"),
    "an id of control characters": ({"vehicle_id": "a\x00b"}, "/vehicle_id", "printable"),
    "an id that is no Unicode text": ({"vehicle_id": "a\ud800"}, "", ""),
    "a number as time": ({"timestamp": 1_705_312_800}, "/timestamp", "a string, such as"),
    "a time that is none": ({"timestamp": "yesterday"}, "/timestamp", "got 'yesterday'"),
    "a time without zone": ({"timestamp": "2024-01-15T10:00:00"}, "/timestamp", "must carry a time zone"),
    "a time before 1971": ({"timestamp": "1970-12-31T23:59:59Z"}, "/timestamp", "must not be before 1971-01-01"),
    "a time 25 h ahead": ({"timestamp": _ahead(25)}, "/timestamp", "not be more than 24 h ahead"),
    "a string in the vector": ({"feature_vector": [1, "hot", 3, 4]}, "/feature_vector/1", "got a string: hot"),
    "a null in the vector": ({"feature_vector": [1, 2, None, 4]}, "/feature_vector/2", "a number; got null"),
    "a boolean in the vector": ({"feature_vector": [True, 2, 3, 4]}, "/feature_vector/0", "got a boolean: True"),
    "an object as vector": ({"feature_vector": {"a": 1}}, "/feature_vector", "an array of numbers; got an object"),
    "a vector too short": (
        {"feature_vector": [1, 2, 3]},
        "/feature_vector",
        "expects 4 values (f0, f1, f2, f3); got 3",
    ),
    "a vector too long": ({"feature_vector": [1, 2, 3, 4, 5]}, "/feature_vector", "expects 4 values"),
    "an empty vector": ({"feature_vector": []}, "/feature_vector", "expects 4 values"),
    "a number beyond float32": ({"feature_vector": [1, 1e39, 3, 4]}, "/feature_vector/1", "3.40282"),
    "no features at all": ({"feature_vector": None}, "", "either feature_vector or features; got neither"),
    "both forms of features": ({"features": {"f0": 1}}, "", "either feature_vector or features; got both"),
    "an unknown field": ({"speed": 3}, "/speed", "is not a field here"),
    "other features": (
        {"feature_vector": None, "features": {"f0": 1, "f1": 2, "f2": 3, "rpm": 4}},
        "/features",
        "model 'default' has the features f0, f1, f2, f3; got f0, f1, f2, rpm: missing f3; not in the model: rpm",
    ),
    "a feature too many": (
        {"feature_vector": None, "features": {"f0": 1, "f1": 2, "f2": 3, "f3": 4, "f4": 5}},
        "/features",
        "not in the model: f4",
    ),
}


@pytest.mark.parametrize("case", WRONG_RECORDS)
def test_a_bad_record_in_a_batch_refuses_it_and_is_named(scene: Scene, case: str) -> None:
    """One bad record among good ones: the whole batch is refused, its index and field are in the pointer."""
    changes, place, words = WRONG_RECORDS[case]
    before = scene.state()
    body = {"records": [record(vehicle_id="VH-100"), record(vehicle_id="VH-101"), record(**changes)]}
    check(scene, "/ingest", body, "/records/2", place, words)
    assert scene.state() == before


@pytest.mark.parametrize("case", WRONG_RECORDS)
def test_a_bad_lone_record_is_not_scored(scene: Scene, case: str) -> None:
    """The pointer is the field alone."""
    changes, place, words = WRONG_RECORDS[case]
    check(scene, "/score", record(**changes), "", place, words)


@pytest.mark.parametrize("case", WRONG_RECORDS)
def test_a_bad_record_in_an_array_refuses_all(scene: Scene, case: str) -> None:
    """The pointer begins with the index."""
    changes, place, words = WRONG_RECORDS[case]
    check(scene, "/score", [record(), record(**changes), record()], "/1", place, words)


def check(scene: Scene, path: str, body: object, index: str, place: str, words: str) -> None:
    """Send a body and check that the one fault found is the one that is there."""
    response = scene.server.client.post(path, content=json.dumps(body), headers=JSON)
    if not words:  # not even JSON's Unicode: the decoder gives its place in bytes
        refused(response, 400, "malformed-body")
        return
    problem = refused(response, 422, "invalid-input")
    assert [fault["pointer"] for fault in problem["errors"]] == [f"{index}{place}"]
    assert words in problem["errors"][0]["detail"]
    assert words in problem["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "nan"])
@pytest.mark.parametrize("path", ["/ingest", "/score"])
def test_what_is_no_number_of_json_is_refused(scene: Scene, path: str, number: str) -> None:
    """JSON has no NaN and no infinities."""
    before = scene.state()
    one = f'{{"vehicle_id": "v", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [1, {number}, 3, 4]}}'
    body = f'{{"records": [{one}]}}' if path == "/ingest" else one
    problem = refused(scene.server.client.post(path, content=body, headers=JSON), 400, "malformed-body")
    assert "NaN or Infinity" in problem["detail"]
    assert scene.state() == before


@pytest.mark.parametrize("number", ["1e400", "-1e400", f"1{'0' * 400}"])
@pytest.mark.parametrize("path", ["/ingest", "/score"])
def test_a_number_beyond_double_is_named(scene: Scene, path: str, number: str) -> None:
    """1e400 is JSON, and no double."""
    before = scene.state()
    one = f'{{"vehicle_id": "v", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [1, {number}, 3, 4]}}'
    body = f'{{"records": [{one}]}}' if path == "/ingest" else f"[{one}]"
    problem = refused(scene.server.client.post(path, content=body, headers=JSON), 422, "invalid-input")
    place = "/records/0" if path == "/ingest" else "/0"
    assert problem["errors"][0]["pointer"] == f"{place}/feature_vector/1"
    assert problem["errors"][0]["value"]
    assert "must be finite" in problem["errors"][0]["detail"] or "float32" in problem["errors"][0]["detail"]
    assert scene.state() == before


BROKEN_BODIES = {
    "nothing": (b"", "body"),
    "truncated": (b'{"records": [{"vehicle_id": "VH-001", "time', "it ends in the middle of a value"),
    "no JSON": (b"vehicle_id,timestamp", "must be JSON"),
    "not UTF-8": (b'{"records": "\xff\xfe"}', "UTF-8"),
    "not UTF-8 in an id": (
        b'{"vehicle_id": "\xe9", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [1, 2, 3, 4]}',
        "UTF-8",
    ),
    "nested without end": (b"[" * 100_000, ""),
    "trailing rubbish": (b"{} {}", "must be JSON"),
}


@pytest.mark.parametrize("case", BROKEN_BODIES)
@pytest.mark.parametrize("path", ["/ingest", "/score"])
def test_a_body_that_is_no_json_is_refused(scene: Scene, path: str, case: str) -> None:
    """400, saying what is wrong with the bytes."""
    body, words = BROKEN_BODIES[case]
    before = scene.state()
    response = scene.server.client.post(path, content=body, headers=JSON)
    assert response.status_code in (400, 422)
    problem = refused(response, response.status_code, response.json()["type"].rpartition(":")[2])
    assert words in problem["detail"] or response.status_code == 422
    assert scene.state() == before


@pytest.mark.parametrize(
    ("path", "body", "pointer", "words"),
    [
        ("/ingest", {"records": []}, "/records", "at least one record is needed; got none"),
        ("/score", [], "", "at least one record is needed; got none"),
        ("/ingest", {}, "/records", "is missing"),
        ("/ingest", [], "", "an object"),
        ("/ingest", {"records": {}}, "/records", "an array of records; got an object"),
        ("/ingest", {"records": [3]}, "/records/0", "a record (an object); got a number: 3"),
        ("/score", 3, "", "a record (an object); got a number: 3"),
        ("/score", [None], "/0", "a record (an object); got null"),
        ("/ingest", batch(model="Bad Name"), "/model", "1 to 63 of a-z"),
        ("/ingest", batch(model="../../etc"), "/model", "1 to 63 of a-z"),
        ("/ingest", batch(model=3), "/model", "a string; got a number: 3"),
        ("/score", record(model="../../etc"), "/model", "1 to 63 of a-z"),
        ("/ingest", batch(speed=3), "/speed", "is not a field here"),
    ],
)
def test_a_body_of_another_shape_is_refused(scene: Scene, path: str, body: object, pointer: str, words: str) -> None:
    """The pointer says where the shape differs."""
    before = scene.state()
    problem = refused(scene.server.client.post(path, json=body), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["errors"][0]["detail"]
    assert scene.state() == before


def test_the_same_vehicle_and_time_twice_is_refused(scene: Scene) -> None:
    """Also when the two write the time in other zones; both places are named."""
    before = scene.state()
    body = {"records": [record(), record(vehicle_id="VH-002"), record(timestamp="2024-01-15T12:00:00+02:00")]}
    problem = refused(scene.server.client.post("/ingest", json=body), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/records/2"
    assert "'VH-001'" in problem["errors"][0]["detail"]
    assert "/records/0" in problem["errors"][0]["detail"]
    assert scene.state() == before


def test_a_later_batch_with_other_features_is_refused_naming_both(scene: Scene) -> None:
    """A model's features are those of its first batch."""
    before = scene.state()
    body = {"model": "named", "records": [record(feature_vector=None, features={"a": 1.0, "c": 2.0})]}
    problem = refused(scene.server.client.post("/ingest", json=body), 422, "invalid-input")
    assert problem["errors"][0]["pointer"] == "/records/0/features"
    assert "model 'named' has the features a, b; got a, c" in problem["detail"]
    assert scene.state() == before


@pytest.mark.parametrize("name", ["vehicle_id", "timestamp", "", "a\nb"])
def test_a_feature_that_cannot_be_stored_is_refused(scene: Scene, name: str) -> None:
    """Feature names become columns beside the record's own fields."""
    before = scene.state()
    body = {"model": "fresh", "records": [record(feature_vector=None, features={name: 1.0})]}
    refused(scene.server.client.post("/ingest", json=body), 422, "invalid-input")
    assert scene.state() == before


def test_more_features_than_the_limit_are_refused(scene: Scene) -> None:
    """The limit and the count are named."""
    before = scene.state()
    body = {"model": "wide", "records": [record(feature_vector=[0.0] * 1025)]}
    problem = refused(scene.server.client.post("/ingest", json=body), 422, "invalid-input")
    assert (problem["errors"][0]["value"], problem["errors"][0]["limit"]) == ("1025", "1024")
    assert scene.state() == before


@pytest.mark.parametrize("path", ["/ingest", "/score"])
def test_more_records_than_the_limit_are_refused(scene: Scene, path: str) -> None:
    """The limit and the count are named."""
    before = scene.state()
    one = json.dumps(record())
    records = f"[{','.join([one] * 100_001)}]"
    body = f'{{"records": {records}}}' if path == "/ingest" else records
    problem = refused(scene.server.client.post(path, content=body, headers=JSON), 422, "invalid-input")
    assert (problem["errors"][0]["value"], problem["errors"][0]["limit"]) == ("100001", "100000")
    assert scene.state() == before


@pytest.mark.parametrize("path", ["/ingest", "/score"])
def test_a_body_10_mb_over_the_limit_is_refused_unparsed(scene: Scene, path: str) -> None:
    """413 by its Content-Length, naming limit and size; the client gets to see it."""
    before = scene.state()
    body = b" " * (74 * MEGABYTE)
    problem = refused(scene.server.client.post(path, content=body, headers=JSON), 413, "body-too-large")
    assert str(74 * MEGABYTE) in problem["detail"]
    assert problem["errors"][0]["limit"] == f"{64 * MEGABYTE} bytes"
    assert scene.state() == before


def test_a_body_over_the_limit_is_refused_when_its_length_is_not_told(scene: Scene) -> None:
    """A chunked body is counted while it comes."""
    before = scene.state()
    chunks = (b" " * MEGABYTE for _ in range(74))
    response = scene.server.client.post("/ingest", content=chunks, headers=JSON)
    problem = refused(response, 413, "body-too-large")
    assert response.headers["connection"] == "close"
    assert "more than 67108864 bytes" in problem["detail"]
    assert scene.state() == before


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "there is no Content-Type"),
        ({"Content-Type": "text/csv"}, "'text/csv'"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "application/json"),
        (JSON | {"Content-Encoding": "gzip"}, "'gzip'"),
    ],
)
@pytest.mark.parametrize("path", ["/ingest", "/score"])
def test_a_body_of_another_kind_is_refused(scene: Scene, path: str, headers: dict[str, str], words: str) -> None:
    """415, saying what to send."""
    before = scene.state()
    content = json.dumps(batch() if path == "/ingest" else record())
    problem = refused(scene.server.client.post(path, content=content, headers=headers), 415, "unsupported-media-type")
    assert words in problem["detail"]
    assert scene.state() == before


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_parameters_of_the_content_type_are_taken(scene: Scene, content_type: str) -> None:
    """Many clients send a charset."""
    headers = {"Content-Type": content_type}
    assert scene.server.client.post("/score", content=json.dumps(record()), headers=headers).status_code == 200


def test_an_unknown_model_is_named_with_those_there_are(scene: Scene) -> None:
    """404, with how to make it."""
    problem = refused(scene.server.client.post("/score", json=record(model="vans")), 404, "unknown-model")
    assert problem["errors"][0]["pointer"] == "/model"
    assert problem["errors"][0]["value"] == "vans"
    assert 'POST /ingest {"model": "vans"' in problem["detail"]
    assert "there are: default, named" in problem["detail"]


@pytest.mark.parametrize("version", ["20200101000000", "1", "latest", "../../x", "x" * 10_000])
def test_an_unknown_version_is_named_with_those_there_are(scene: Scene, version: str) -> None:
    """404, in an array with the index."""
    body = [record(), record(model_version=version)]
    problem = refused(scene.server.client.post("/score", json=body), 404, "unknown-version")
    assert problem["errors"][0]["pointer"] == "/1/model_version"
    assert f"it has: {scene.version}" in problem["detail"]
    assert len(problem["detail"]) < 500


@pytest.mark.parametrize("job", ["nothing", "0d6f2f5e-6c1b-4f0e-9a53-5f0c5d8f7a11", "%00", "x" * 5000])
def test_an_unknown_job_is_refused(scene: Scene, job: str) -> None:
    """404, whatever stands for the id."""
    refused(scene.server.client.get(f"/ingest/{job}"), 404, "unknown-job")


@pytest.mark.parametrize("name", ["vans", "Bad Name", "..%2f..%2fetc"])
def test_an_unknown_models_versions_are_refused(scene: Scene, name: str) -> None:
    """404; a name that could leave the folder is no name."""
    response = scene.server.client.get(f"/models/{name}/versions")
    assert response.status_code == 404
    refused(response, 404, response.json()["type"].rpartition(":")[2])


@pytest.mark.parametrize(("method", "path"), [("GET", "/score"), ("DELETE", "/ingest"), ("POST", "/health")])
def test_another_method_is_refused_with_those_allowed(scene: Scene, method: str, path: str) -> None:
    """405 with Allow."""
    response = scene.server.client.request(method, path)
    refused(response, 405, "method-not-allowed")
    assert response.headers["allow"] in ("POST", "GET")


@pytest.mark.parametrize("path", ["/scores", "/score/", "/v3"])
def test_an_unknown_path_is_refused(scene: Scene, path: str) -> None:
    """404, pointing to the documentation."""
    assert "/docs" in refused(scene.server.client.get(path), 404, "not-found")["detail"]


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_bad_idempotency_key_is_refused(scene: Scene, key: str) -> None:
    """400, saying what a key is."""
    before = scene.state()
    response = scene.server.client.post("/ingest", json=batch(), headers={"Idempotency-Key": key})
    assert "1 to 255 printable ASCII" in refused(response, 400, "bad-header")["detail"]
    assert scene.state() == before


def test_many_faults_are_shown_in_part_and_counted(scene: Scene) -> None:
    """The first ten, and the number of the others."""
    body = {"records": [record(vehicle_id=index) for index in range(25)]}
    problem = refused(scene.server.client.post("/ingest", json=body), 422, "invalid-input")
    assert len(problem["errors"]) == 10
    assert problem["more_errors"] == 15
    assert "(and 24 more)" in problem["detail"]
