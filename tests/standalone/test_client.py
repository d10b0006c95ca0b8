"""The client: what it sends, what it waits for, and how it tells what went wrong."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from standalone.client import (
    ATTEMPTS,
    LONGEST_RETRY_S,
    LONGEST_TRAINING_S,
    Client,
    Refused,
    TrainingFailed,
    UnexpectedAnswer,
    Unreachable,
    chunked,
)

RECORD = {"vehicle_id": "VH-001", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [0.5, 0.3]}
TRAINED = {
    "model": "vans",
    "model_version": "20240115100000",
    "record_count": 1,
    "batch_id": "b",
    "warnings": ["one record makes a poor model"],
    "served": True,
}


class Server:
    """Answers with what it was given, one after another, the last one again and again; keeps what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def client(self) -> Client:
        return Client("http://telltale.test", transport=httpx.MockTransport(self), sleep=self.slept.append)

    def body(self, position: int = 0) -> Any:
        return json.loads(self.requests[position].content)


def problem(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    document = {"type": "about:blank", "title": "Not taken", "status": status, "detail": detail, **more}
    return httpx.Response(status, json=document, headers=headers)


def test_ingest_sends_records_and_model_and_returns_the_version() -> None:
    server = Server(httpx.Response(201, json=TRAINED))
    with server.client() as client:
        result = client.ingest([RECORD], model="vans")
    assert server.body() == {"records": [RECORD], "model": "vans"}
    assert (result.model, result.model_version, result.record_count) == ("vans", "20240115100000", 1)
    assert result.served
    assert result.warnings == ("one record makes a poor model",)


def test_each_ingest_carries_a_key_of_its_own_that_its_retries_keep() -> None:
    busy = problem(503, "stopping", {"Retry-After": "2"})
    server = Server(busy, httpx.Response(201, json=TRAINED))
    with server.client() as client:
        client.ingest([RECORD], model="vans")
        client.ingest([RECORD], model="vans")
        client.ingest([RECORD], model="vans", key="mine")
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert keys[0] == keys[1] != keys[2]
    assert keys[3] == "mine"
    assert server.slept == [2.0]


def test_a_202_is_followed_until_the_job_is_done() -> None:
    job = {"job": "j1", "model": "vans", "model_version": "20240115100000", "state": "queued", "record_count": 1}
    server = Server(
        httpx.Response(202, json=job, headers={"Location": "/ingest/j1"}),
        httpx.Response(200, json=job),
        httpx.Response(200, json=job | {"state": "training"}),
        httpx.Response(200, json=job | {"state": "done", "served": True}),
    )
    with server.client() as client:
        result = client.ingest([RECORD], model="vans")
    assert result.model_version == "20240115100000"
    assert [request.url.path for request in server.requests] == ["/ingest", *["/ingest/j1"] * 3]
    assert len(server.slept) == 2


def test_a_202_without_location_is_followed_by_its_job() -> None:
    job = {"job": "j 1", "model_version": "20240115100000", "state": "done"}
    server = Server(httpx.Response(202, json=job), httpx.Response(200, json=job))
    with server.client() as client:
        assert client.ingest([RECORD], model="vans").record_count == 1
    assert server.requests[1].url.raw_path == b"/ingest/j%201"


def test_a_failed_job_says_why() -> None:
    job = {"job": "j1", "state": "failed", "error": "the worker ran out of memory"}
    server = Server(httpx.Response(202, json=job), httpx.Response(200, json=job))
    with server.client() as client, pytest.raises(TrainingFailed, match="ran out of memory"):
        client.ingest([RECORD], model="vans")


def test_a_job_that_never_ends_is_given_up() -> None:
    job = {"job": "j1", "state": "training"}
    server = Server(httpx.Response(202, json=job), httpx.Response(200, json=job))
    with server.client() as client, pytest.raises(TrainingFailed, match="not done after 60 minutes"):
        client.ingest([RECORD], model="vans")
    assert LONGEST_TRAINING_S <= sum(server.slept) < LONGEST_TRAINING_S + 10


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"served": False, "reason": "a later version is the default"}, "a later version is the default"),
        ({"gate": "refused", "gate_reason": "other scores"}, "the offline gate refused the version: other scores"),
        ({"gate": "passed"}, None),
    ],
)
def test_a_version_that_is_not_served_comes_with_the_reason(told: dict[str, Any], reason: str | None) -> None:
    with Server(httpx.Response(201, json=TRAINED | told)).client() as client:
        assert client.ingest([RECORD], model="vans").reason == reason


def test_score_names_model_and_version_in_each_record_and_keeps_the_order() -> None:
    scores = [{"vehicle_id": "VH-001", "anomaly_score": 0.1, "is_anomaly": False, "model_version": "v"}] * 2
    server = Server(httpx.Response(200, json=scores))
    with server.client() as client:
        assert client.score([RECORD, RECORD], model="vans", model_version="20240115100000") == scores
    assert server.body() == [RECORD | {"model": "vans", "model_version": "20240115100000"}] * 2


def test_models_returns_what_the_server_tells() -> None:
    server = Server(httpx.Response(200, json={"models": []}))
    with server.client() as client:
        assert client.models() == {"models": []}
    assert str(server.requests[0].url) == "http://telltale.test/models"


def test_a_problem_document_becomes_one_error_with_its_detail_and_all_faults() -> None:
    first = "/records/3/vehicle_id: must have 1 to 256 characters; got 0"
    faults = [
        {"pointer": "/records/3/vehicle_id", "detail": "must have 1 to 256 characters; got 0"},
        {"pointer": "/records/4/timestamp", "detail": "must carry a time zone"},
    ]
    server = Server(problem(422, f"{first} (and 1 more)", errors=faults, request_id="r-1"))
    with server.client() as client, pytest.raises(Refused) as caught:
        client.ingest([RECORD], model="vans")
    assert caught.value.status == 422
    assert caught.value.problem["errors"] == faults
    assert str(caught.value).splitlines() == [
        f"the server refused (422 Not taken): {first} (and 1 more)",
        "  /records/4/timestamp: must carry a time zone",
        "  request id r-1",
    ]


def test_an_error_page_of_something_else_is_shown_too() -> None:
    server = Server(httpx.Response(502, text="<h1>Bad Gateway</h1>"))
    with server.client() as client, pytest.raises(Refused, match=r"502 Bad Gateway\): <h1>Bad Gateway"):
        client.models()


@pytest.mark.parametrize(("named", "waited"), [("3", 3.0), ("9999", LONGEST_RETRY_S), ("-1", 0.0), ("Fri, 1", 1.0)])
def test_a_busy_server_is_asked_again_after_the_time_it_names(named: str, waited: float) -> None:
    server = Server(problem(503, "busy", {"Retry-After": named}), httpx.Response(200, json={"models": []}))
    with server.client() as client:
        client.models()
    assert server.slept == [waited]


def test_a_server_that_stays_busy_is_given_up_after_some_attempts() -> None:
    server = Server(problem(503, "the disk is full", {"Retry-After": "1"}))
    with server.client() as client, pytest.raises(Refused, match="the disk is full"):
        client.models()
    assert len(server.requests) == ATTEMPTS
    assert len(server.slept) == ATTEMPTS - 1


@pytest.mark.parametrize("answer", [problem(503, "broken"), problem(422, "no", {"Retry-After": "1"})])
def test_what_does_not_name_a_time_or_is_not_busy_is_not_asked_again(answer: httpx.Response) -> None:
    server = Server(answer)
    with server.client() as client, pytest.raises(Refused):
        client.models()
    assert len(server.requests) == 1


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine that is taken and that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_nobody_listening_asks_whether_the_server_runs(closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    with Client(url) as client, pytest.raises(Unreachable, match=f"is `telltale serve` running at {url}"):
        client.models()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (httpx.ReadTimeout("slow"), "did not answer GET /models in time"),
        (httpx.ReadError("reset"), "connection to http://telltale.test broke in GET /models: reset"),
        (httpx.RemoteProtocolError("no HTTP"), "no HTTP"),
        (httpx.TooManyRedirects("round and round"), "round and round"),
    ],
)
def test_every_way_a_connection_breaks_is_told(failure: Exception, words: str) -> None:
    with Server(failure).client() as client, pytest.raises(Unreachable, match=words):
        client.models()


@pytest.mark.parametrize("url", ["localhost:8000", "foo", "ftp://localhost", "http://", "http://a:b:c", ""])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(Unreachable, match="is not a URL such as"):
        Client(url)


@pytest.mark.parametrize(
    ("answer", "ask"),
    [
        (httpx.Response(200, text="hello"), lambda client: client.models()),
        (httpx.Response(200, json=[1]), lambda client: client.models()),
        (httpx.Response(201, json={"ok": True}), lambda client: client.ingest([RECORD], model="m")),
        (httpx.Response(200, json=[]), lambda client: client.score([RECORD], model="m", model_version="v")),
    ],
)
def test_another_server_at_the_url_is_noticed(answer: httpx.Response, ask: Callable[[Client], object]) -> None:
    with Server(answer).client() as client, pytest.raises(UnexpectedAnswer):
        ask(client)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_no_proxy_stands_between_us_and_this_machine(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "not a proxy")
    Client(f"http://{host}:1").close()


def test_chunks_keep_to_the_number_of_records() -> None:
    assert [len(part) for part in chunked([RECORD] * 25, most=10)] == [10, 10, 5]
    assert [len(part) for part in chunked([RECORD] * 20, most=10)] == [10, 10]
    assert list(chunked([])) == []


def test_chunks_keep_to_the_number_of_bytes() -> None:
    size = len(json.dumps(RECORD, separators=(",", ":"))) + 1
    assert [len(part) for part in chunked([RECORD] * 5, most_bytes=2 * size)] == [2, 2, 1]
    assert [len(part) for part in chunked([RECORD] * 2, most_bytes=1)] == [1, 1]
