"""``POST /score`` in NDJSON: a record on each line in, a score on each line out, and complaints that name the line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.predictor.hotpath.conftest import NEW, OLD, pinned
from tests.predictor.hotpath.documented import Documented
from tests.predictor.records import record
from tests.predictor.running import Running

NDJSON = "application/x-ndjson"
MOST = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A predictor that takes few records at once."""
    with pinned(tmp_path_factory.mktemp("objects"), max_records=MOST, max_body_bytes=64 * 1024) as started:
        yield started


def lines(*records: dict[str, Any] | str) -> str:
    return "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in records)


def post(server: Running, body: str | bytes, content_type: str | None = NDJSON, **headers: str) -> httpx.Response:
    """Ask, and hold the answer against the documentation."""
    typed = {"Content-Type": content_type} if content_type else {}
    answer = server.client.post("/score", content=body, headers=typed | headers)
    documented = Documented(server.client.get("/openapi.json").json())
    operation = documented.operation("post", "/score")
    documented.check(operation, answer.status_code, answer.headers.items(), answer.content)
    return answer


def complaint(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document, which is JSON whatever came."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    return problem


MANY = [
    record(vehicle_id="1"),
    record(vehicle_id="2", feature_vector=[9.0, 0, 0, 0]),
    record(vehicle_id="3", feature_vector=None, features={"f3": 1, "f0": 0.5, "f1": 2, "f2": 3}),
    record(vehicle_id="4", feature_vector=[0.5, 0, 0, 0], model_version=OLD),
    record(vehicle_id="5", model="other", model_version=OLD, feature_vector=[1, 2]),
]


def test_lines_are_scored_like_an_array(server: Running) -> None:
    """Number for number, by whichever versions they name."""
    answer = post(server, lines(*MANY))
    array = server.client.post("/score", json=MANY).json()
    assert answer.headers["content-type"] == NDJSON
    assert answer.text.endswith("}\n")
    assert [json.loads(line) for line in answer.text.splitlines()] == array
    assert [one["is_anomaly"] for one in array[:4]] == [False, True, False, True]
    assert [one["model_version"] for one in array] == [NEW, NEW, NEW, OLD, OLD]


@pytest.mark.parametrize(
    "content_type", [NDJSON, "application/ndjson", "application/jsonl", f"{NDJSON}; charset=utf-8"]
)
def test_all_of_its_names_are_taken(server: Running, content_type: str) -> None:
    assert post(server, lines(record()), content_type).headers["content-type"] == NDJSON


@pytest.mark.parametrize("body", [lines(*MANY).rstrip(), lines(*MANY).replace("\n", "\r\n"), lines(*MANY, "", " ")])
def test_ends_of_lines_are_taken_as_they_come(server: Running, body: str) -> None:
    """The last may have none; those of Windows and empty lines are no harm."""
    assert len(post(server, body).text.splitlines()) == len(MANY)


@pytest.mark.parametrize("accept", ["application/json", "text/csv", "*/*", "application/x-ndjson;q=0"])
def test_the_form_of_the_answer_is_that_of_the_request(server: Running, accept: str) -> None:
    """Whatever Accept says: a client knows what it sent."""
    assert post(server, lines(record()), Accept=accept).headers["content-type"] == NDJSON
    assert post(server, json.dumps(record()), "application/json", Accept=accept).json()["vehicle_id"] == "VH-001"


BAD_LINES = {
    "cut off": ('{"vehicle_id": "v", "time', "it ends in the middle of a value"),
    "cut off after a wrong value": ('{"vehicle_id": 3, "time', "it ends in the middle of a value"),
    "not JSON": ("VH-001,2024-01-15", "must be JSON"),
    "no number": (json.dumps(record()).replace("0.5", "NaN"), "NaN or Infinity"),
    "nested without end": ("[" * 20_000, "nested too deeply"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_line_that_is_no_json_is_named(server: Running, case: str) -> None:
    """By its number in the body, from 1; empty lines count."""
    line, words = BAD_LINES[case]
    problem = complaint(post(server, lines(record(), "", line, record())), 400)
    assert problem["type"] == "urn:telltale:problem:malformed-body"
    assert problem["detail"].startswith("line 3: ")
    assert words in problem["detail"]


def test_a_line_that_is_no_text_is_named(server: Running) -> None:
    body = lines(record()).encode() + b'{"vehicle_id": "\xff"}\n'
    assert complaint(post(server, body), 400)["detail"].startswith("line 2: the body must be UTF-8")


BAD_RECORDS = {
    "no record": ("[]", "", "must be a record (an object); got an array"),
    "a field too few": (record(vehicle_id=None), "/vehicle_id", "is missing"),
    "a field too many": (record(speed=3), "/speed", "is not a field here"),
    "a wrong type": (record(feature_vector=[1, "hot", 3, 4]), "/feature_vector/1", "got a string: hot"),
    "a wrong length": (record(feature_vector=[1]), "/feature_vector", "expects 4 values (f0, f1, f2, f3); got 1"),
    "a number too large": (record(feature_vector=[1, 1e39, 3, 4]), "/feature_vector/1", "float32"),
    "a time without zone": (record(timestamp="2024-01-15T10:00:00"), "/timestamp", "must carry a time zone"),
    "other features": (record(feature_vector=None, features={"a": 1}), "/features", "has the features f0, f1, f2, f3"),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_a_record_that_breaks_a_rule_is_named(server: Running, case: str) -> None:
    """By a pointer that begins with its place among the records, from 0, as in an array."""
    line, pointer, words = BAD_RECORDS[case]
    problem = complaint(post(server, lines(record(), record(), line, record())), 422)
    assert [fault["pointer"] for fault in problem["errors"]] == [f"/2{pointer}"]
    assert words in problem["errors"][0]["detail"]


def test_a_model_that_is_not_there_is_named(server: Running) -> None:
    problem = complaint(post(server, lines(record(), record(model="nobody"))), 404)
    assert problem["errors"][0]["pointer"] == "/1/model"


@pytest.mark.parametrize("body", ["", "\n", " \r\n\n"])
def test_nothing_is_refused(server: Running, body: str) -> None:
    assert "at least one record" in complaint(post(server, body), 422)["detail"]


def test_more_records_than_the_limit_are_refused(server: Running) -> None:
    assert len(post(server, lines(*[record()] * MOST)).text.splitlines()) == MOST
    problem = complaint(post(server, lines(*[record()] * (MOST + 1))), 422)
    assert (problem["errors"][0]["value"], problem["errors"][0]["limit"]) == ("51", "50")


def test_a_large_body_is_answered_like_a_small_one(server: Running) -> None:
    """From 16 KiB on it goes to a thread."""
    padded = [record(vehicle_id=f"VH-{number:0100}") for number in range(MOST)]
    body = lines(*padded) + " " * 16_384
    answer = post(server, body).text.splitlines()
    assert [json.loads(line)["vehicle_id"] for line in answer] == [one["vehicle_id"] for one in padded]
    assert "line 51: " in complaint(post(server, lines(*padded, "{") + " " * 16_384), 400)["detail"]


@pytest.mark.parametrize(
    ("content_type", "headers", "words"),
    [
        ("text/csv", {}, "Content-Type is 'text/csv': send one of application/json, application/x-ndjson"),
        ("application/vnd.apache.parquet", {}, "application/vnd.apache.arrow.stream"),
        (None, {}, "there is no Content-Type"),
        (NDJSON, {"Content-Encoding": "gzip"}, "send the body uncompressed"),
    ],
)
def test_other_forms_are_refused(
    server: Running, content_type: str | None, headers: dict[str, str], words: str
) -> None:
    problem = complaint(post(server, lines(record()), content_type, **headers), 415)
    assert words in problem["detail"]
