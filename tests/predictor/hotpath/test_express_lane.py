"""The express lane of a whole predictor: the same answers as the ordinary way's, admission and notes included."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.predictor.hotpath.conftest import NEW, OLD, Ways, pinned, protocol_of
from tests.predictor.hotpath.simulated_express import until
from tests.predictor.hotpath.wire import WireAnswer, chunked, request, wire
from tests.predictor.records import record
from tests.predictor.running import Running

SECRET = "a secret of the tests, which has more than 32 bytes"
ORIGIN = "https://fleet.example"
INFER = "/v2/models/default/infer"
RECORD = json.dumps(record()).encode()
TENSOR = {"name": "features", "shape": [1, 4], "datatype": "FP64", "data": [0.5, 0.3, 0.8, 1.2]}


def infer(**changes: Any) -> bytes:
    return json.dumps({"id": "7", "inputs": [TENSOR | changes]}).encode()


def token(scope: str = "telemetry:score", **changes: Any) -> str:
    payload = {"sub": "fleet-7", "exp": int(time.time()) + 3600, "scope": scope} | changes
    return f"Authorization: Bearer {jwt.encode(payload, SECRET, 'HS256')}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Ways]]:
    """A predictor that wants tokens, answers another origin, and takes small bodies only."""
    folder = tmp_path_factory.mktemp("objects")
    changes = {"auth_secret": SECRET, "cors_origins": ORIGIN, "max_body_bytes": 4096, "max_records": 5}
    with pinned(folder, **changes) as server:
        yield server, Ways(server)


GOOD = token()
GOOD_BODIES = (
    RECORD,
    json.dumps(record(model_version=NEW)).encode(),
    json.dumps(record(model_version=OLD)).encode(),
    json.dumps([record(), record(vehicle_id="VH-2")]).encode(),
    json.dumps(record(feature_vector=None, features={"f3": 1, "f0": 9, "f1": 2, "f2": 3})).encode(),
    infer(),
    infer(shape=[2, 4], data=[[1, 2, 3, 4], [9, 2, 3, 4]]),
)
BAD_BODIES = (
    b"",
    b"{",
    b"[]",
    b"nonsense",
    b'{"vehicle_id": "\xff"}',
    RECORD + b" " * 3800,
    RECORD + b" " * 4096,
    json.dumps(record(model="nobody")).encode(),
    json.dumps(record(model_version="20230101000000")).encode(),
    json.dumps(record(feature_vector=[1])).encode(),
    json.dumps(record(feature_vector=[1e39, 0, 0, 0])).encode(),
    json.dumps([record()] * 6).encode(),
    infer(shape=[1, 3]),
    infer(data=["x"] * 4),
    infer() + b" " * 4096,
)
TARGETS = (
    "/score",
    INFER,
    f"/v2/models/default/versions/{NEW}/infer",
    f"/v2/models/default/versions/{OLD}/infer",
    "/v2/models/nobody/infer",
    "/v2/models/a/b/infer",
)
FIELDS = (
    "X-Request-Id: night-run-0042",
    "X-Request-Id: " + "x" * 200,
    f"Origin: {ORIGIN}",
    "Origin: https://elsewhere.example",
    "Accept: text/csv",
    "Content-Encoding: gzip",
    "Content-Encoding: identity",
    "Inference-Header-Content-Length: 3",
    "Inference-Header-Content-Length: x",
    "Connection: close",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
TYPES = ("application/json", "application/json; charset=utf-8", "application/x-ndjson", "text/plain", None)
TOKENS = (GOOD, GOOD, GOOD, token("models:read"), token(exp=1), "Authorization: Bearer nonsense", "X-None: 1")


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Requests of hot routes, mostly with one thing wrong at most."""
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=2, unique_by=lambda field: field.partition(":")[0]))
    return request(
        draw(st.sampled_from(TARGETS)),
        draw(st.sampled_from(GOOD_BODIES + BAD_BODIES)),
        draw(st.sampled_from(TOKENS)),
        *fields,
        content_type=draw(st.sampled_from(TYPES)),
        version=draw(st.sampled_from(("1.1", "1.1", "1.1", "1.0"))),
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=requests())
def test_both_ways_give_the_same_answer(guarded: tuple[Running, Ways], raw: bytes) -> None:
    """Status, headers and body, and what becomes of the connection."""
    server, ways = guarded
    with wire(server.port) as first, wire(server.port) as second:
        at_once = ways.at_once(first, raw)
        ordinarily = ways.ordinarily(second, raw)
        assert at_once.comparable() == ordinarily.comparable()
        assert at_once.header("x-request-id")
        if at_once.closes:
            assert first.is_closed()
            assert second.is_closed()


def test_good_requests_do_take_the_lane(guarded: tuple[Running, Ways]) -> None:
    """Else the test above would compare the ordinary way with itself."""
    server, ways = guarded
    with wire(server.port) as connection:
        ways.at_once(connection, request("/score", RECORD, GOOD))
        ways.taken.clear()
        for raw in (
            request("/score", RECORD, GOOD),
            request(INFER, infer(), GOOD),
            request(INFER, infer(shape=[1, 3]), GOOD),
            request("/score", RECORD, token("models:read")),
            request("/score", RECORD),
        ):
            ways.at_once(connection, raw)
    assert ways.taken[:3] == [True] * 3


def test_a_token_that_was_not_seen_before_is_verified_the_ordinary_way(guarded: tuple[Running, Ways]) -> None:
    server, ways = guarded
    fresh = token(jti="fresh")
    ways.taken.clear()
    with wire(server.port) as connection:
        answers = [ways.at_once(connection, request("/score", RECORD, fresh)) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert ways.taken == [False, True, True]
    assert answers[0].comparable() == answers[1].comparable()


def test_a_version_that_must_be_loaded_is_awaited(tmp_path: Path) -> None:
    """Both forms of the request are answered once, and by the lane from then on."""
    with pinned(tmp_path) as server:
        ways = Ways(server)
        with wire(server.port) as connection:
            scored = [
                ways.at_once(connection, request("/score", json.dumps(record(model_version=OLD)).encode()))
                for _ in range(2)
            ]
            connection.send(
                request("/v2/models/other/versions/20240101000000/infer", infer(shape=[1, 2], data=[1, 2]))
                + request("/score", RECORD)
            )
            inferred, after = connection.answer(), connection.answer()
    assert [answer.json()["model_version"] for answer in scored] == [OLD, OLD]
    assert inferred.json()["model_name"] == "other"
    assert after.json()["model_version"] == NEW
    # The one behind a request that waits goes its way, so that the order is kept.
    assert ways.taken == [False, True, False]


def test_ids_of_requests_come_back(alone: Running) -> None:
    """The client's own if it is a sane one; else a new one for each."""
    with wire(alone.port) as connection:
        assert connection.ask(request("/score", RECORD, "X-Request-Id: mine")).header("x-request-id") == "mine"
        made = {connection.ask(request(target, RECORD)).header("x-request-id") for target in ("/score", INFER)}
        made.add(connection.ask(request("/score", RECORD, "X-Request-Id: \x80")).header("x-request-id"))
        bad = connection.ask(request("/score", b"{", "X-Request-Id: mine"))
    assert len(made) == 3
    assert all(len(one or "") == 32 for one in made)
    assert bad.json()["request_id"] == "mine"


@pytest.mark.parametrize("target", ["/score", INFER])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_told_which_one_is_taken(alone: Running, target: str, method: str) -> None:
    with wire(alone.port) as connection:
        connection.send(request(target, b"", method=method))
        answer = connection.answer(has_body=method != "HEAD")
        assert answer.status == 405
        assert answer.header("allow") == "POST"
        assert connection.ask(request("/score", RECORD)).status == 200


def test_a_client_may_ask_before_it_sends(alone: Running) -> None:
    with wire(alone.port) as connection:
        raw = request("/score", RECORD, "Expect: 100-continue")
        cut = len(raw) - len(RECORD)
        assert connection.ask(raw[:cut]).status == 100
        assert connection.ask(raw[cut:]).status == 200


def test_chunks_are_scored(alone: Running) -> None:
    with wire(alone.port) as connection:
        pieces = chunked("/score", RECORD)
        for raw in ([b"".join(pieces)], pieces):
            assert connection.ask(*raw).json()["vehicle_id"] == "VH-001"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("/score", RECORD, "Transfer-Encoding: chunked"), 400),
        (request("/score", b"", length=99_999_999_999), 413),
        (request(INFER, b"", length=99_999_999_999), 413),
    ],
)
def test_a_length_that_cannot_be_is_refused_at_once(alone: Running, raw: bytes, status: int) -> None:
    with wire(alone.port) as connection:
        answer = connection.ask(raw)
        assert answer.status == status
        assert answer.closes
        assert connection.is_closed()


def test_pipelined_requests_of_both_kinds_keep_their_order(alone: Running) -> None:
    ids = [f"VH-{number}" for number in range(20)]
    raw = b""
    for number, vehicle in enumerate(ids):
        body = json.dumps(record(vehicle_id=vehicle)).encode()
        raw += b"".join(chunked("/score", body)) if number % 3 else request("/score", body)
        raw += request("/healthz", b"", method="GET") if number % 5 == 0 else b""
    with wire(alone.port) as connection:
        connection.send(raw)
        answers = [connection.answer() for _ in range(24)]
    assert [answer.json()["vehicle_id"] for answer in answers if b"vehicle_id" in answer.body] == ids


def test_what_the_lane_answers_is_counted_like_the_rest(tmp_path: Path) -> None:
    """Requests by route and status, and records by version."""
    with pinned(tmp_path) as server:
        ways = Ways(server)
        with wire(server.port) as connection:
            for raw in (request("/score", RECORD), request("/score", b"{"), request(INFER, infer())):
                ways.at_once(connection, raw)
                ways.ordinarily(connection, raw)
        text = server.client.get("/metrics").text
    assert ways.taken == [True, False, True]
    assert 'telltale_http_requests_total{method="POST",route="/score",status="200"} 2.0' in text
    assert 'telltale_http_requests_total{method="POST",route="/score",status="400"} 2.0' in text
    assert 'telltale_http_requests_total{method="POST",route="/v2/models/{name}/infer",status="200"} 2.0' in text
    assert f'telltale_scored_records_total{{model="default",model_version="{NEW}"}} 4.0' in text


def test_quotas_are_charged_once_and_told(tmp_path: Path) -> None:
    """Also where a request begins in the lane and has to go the ordinary way, and where another origin asks."""
    bodies = [RECORD, json.dumps([record()]).encode(), b"{"]
    changes = {"rate_limit": 0.001, "rate_limit_burst": 5, "cors_origins": ORIGIN}
    with pinned(tmp_path, **changes) as server, wire(server.port) as connection:
        answers = [connection.ask(request("/score", body, f"Origin: {ORIGIN}")) for body in bodies]
        answers += [connection.ask(request(INFER, infer())) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 400, 200, 200, 429, 429]
    assert [_remaining(answer) for answer in answers] == [4, 3, 2, 1, 0, 0, 0]
    assert [answer.header("access-control-allow-origin") for answer in answers[:4]] == [*[ORIGIN] * 3, None]
    assert int(answers[-1].header("retry-after") or 0) > 0


def _remaining(answer: WireAnswer) -> int:
    policy, state = answer.header("ratelimit-policy"), answer.header("ratelimit")
    assert policy is not None
    assert state is not None
    return int(state.partition(";r=")[2].partition(";")[0])


def test_a_fault_of_the_server_is_a_500_with_its_cause_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pinned(tmp_path) as server:

        def broken(*_: object) -> None:
            raise RuntimeError("a disk on fire")

        server.predictor.early.score._loaded.default = broken  # type: ignore[assignment]
        with wire(server.port) as connection:
            answer = connection.ask(request("/score", RECORD))
            assert connection.ask(request(INFER, infer())).status == 500
    assert answer.status == 500
    assert answer.json()["type"] == "urn:telltale:problem:internal"
    assert b"disk" not in answer.body
    assert "a disk on fire" in caplog.text


def test_a_server_on_its_way_out_closes_with_each_answer(tmp_path: Path) -> None:
    """It goes on answering while it drains."""
    with pinned(tmp_path, drain_seconds=30) as server:
        ways = Ways(server)
        with wire(server.port) as first, wire(server.port) as second, wire(server.port) as third:
            for connection in (first, second):
                assert not connection.ask(request("/score", RECORD)).closes
            kept = request("/score", RECORD)
            third.send(kept[:-10])
            third_end = protocol_of(server, third)
            until(lambda: third_end._is_hot)
            server.server.stop()
            until(lambda: server.predictor.early.frame.is_draining)
            at_once = ways.at_once(first, request("/score", RECORD))
            ordinarily = ways.ordinarily(second, request("/score", RECORD))
            assert third.ask(kept[-10:]).closes
            for answer, connection in ((at_once, first), (ordinarily, second)):
                assert answer.status == 200
                assert answer.closes
                assert connection.is_closed()
    assert at_once.comparable() == ordinarily.comparable()
