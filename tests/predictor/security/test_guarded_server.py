"""Authentication, scopes and limits on a whole server, by every way in."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.predictor.security.guarded import (
    OPEN_PATHS,
    OTHERS,
    RECORD,
    SCORE_BY,
    Guarded,
    bearer,
    guarded,
    v2_message,
)

MOST_RECORDS, MOST_BYTES = 50, 256 * 1024
_BODY = json.dumps(RECORD).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server that wants tokens, and takes little at a time."""
    with guarded(
        tmp_path_factory.mktemp("objects"),
        max_records=MOST_RECORDS,
        max_body_bytes=MOST_BYTES,
        max_header_bytes=16 * 1024,
    ) as started:
        yield started


@pytest.mark.parametrize("way", SCORE_BY)
def test_who_has_the_scope_scores_by_every_way(server: Guarded, way: str) -> None:
    for _ in range(2):  # a token that is new, and one that was verified before
        assert SCORE_BY[way](server, bearer("telemetry:score")).status == 200


@pytest.mark.parametrize("way", SCORE_BY)
def test_nobody_scores_without_a_token_that_is_good(server: Guarded, way: str) -> None:
    bad = [None, "Bearer x.y.z", bearer(secret=b"z" * 40), bearer(exp=1), bearer(aud="another"), "Basic dTpw"]
    for authorization in bad:
        told = SCORE_BY[way](server, authorization)
        assert told.status == 401, authorization
        assert told.headers["www-authenticate"].startswith('Bearer realm="telltale"')
        assert told.headers["x-request-id"]


@pytest.mark.parametrize("way", SCORE_BY)
def test_nobody_scores_by_a_token_for_something_else(server: Guarded, way: str) -> None:
    told = SCORE_BY[way](server, bearer("models:read telemetry:ingest models:write"))
    assert told.status == 403
    assert 'scope="telemetry:score"' in told.headers["www-authenticate"]


@pytest.mark.parametrize("what", OTHERS)
def test_everything_about_models_and_batches_needs_its_scope(server: Guarded, what: str) -> None:
    scope, ask = OTHERS[what]
    others = {"telemetry:ingest", "telemetry:score", "models:read", "models:write"} - {scope}
    assert ask(server, None).status == 401
    assert ask(server, bearer(" ".join(others))).status == 403
    assert ask(server, bearer(scope)).status not in (401, 403)


@pytest.mark.parametrize("path", OPEN_PATHS)
def test_what_probes_scrapers_and_people_ask_needs_no_token(server: Guarded, path: str) -> None:
    assert server.http("GET", path).status == 200


@pytest.mark.parametrize(
    "path",
    ["/models/", "/models%2f", "/%6dodels", "/ingest/", "/v2/", "/v2//models", "/v2/%6dodels", "/v2/models/../models",
     "/v1/models/", "/score/", "/SCORE", "/v2/models/default%2finfer", "/./models", "/models;x=1"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_way_to_write_a_path_leads_past_the_token(server: Guarded, method: str, path: str) -> None:
    with socket.create_connection(("127.0.0.1", server.running.port), timeout=10) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        status = int(connection.recv(4096).split()[1])
    assert status in (401, 404, 405), status


def test_a_refusal_without_a_token_says_nothing_of_what_there_is(server: Guarded) -> None:
    here, nowhere = (server.http("GET", f"/v2/models/{name}") for name in ("default", "nothing"))
    assert here.status == nowhere.status == 401
    assert here.text == nowhere.text


@pytest.mark.parametrize("first", ["good", "bad"])
def test_two_tokens_are_none_over_http(server: Guarded, first: str) -> None:
    pair = [bearer(), "Bearer a.b.c"] if first == "good" else ["Bearer a.b.c", bearer()]
    for repeated in (pair, [bearer(), bearer()]):
        headers = [("content-type", "application/json"), *(("authorization", one) for one in repeated)]
        for target in ("/score", "/v2/models/default/infer", "/models"):
            answer = server.running.client.post(target, content=_BODY, headers=headers)
            assert answer.status_code == 401, target


def test_two_tokens_are_none_over_grpc(server: Guarded) -> None:
    for pair in ([bearer(), "Bearer a.b.c"], ["Bearer a.b.c", bearer()]):
        with pytest.raises(grpc.RpcError) as refusal:
            server.stub.ModelInfer(v2_message(), metadata=[("authorization", one) for one in pair])
        error: Any = refusal.value
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_refusals_are_counted_by_their_reason(server: Guarded) -> None:
    def counted(reason: str) -> float:
        return server.metric(f'telltale_auth_refusals_total{{reason="{reason}"}}')

    reasons = ("missing", "missing_scope", "expired", "malformed")
    before = {reason: counted(reason) for reason in reasons}
    for way in ("json", "v2 json", "v2 grpc"):
        for authorization in (None, bearer("models:read"), bearer(exp=1), "Bearer nothing"):
            SCORE_BY[way](server, authorization)
    assert {reason: counted(reason) - before[reason] for reason in reasons} == dict.fromkeys(reasons, 3)


# Limits


@pytest.mark.parametrize("way", SCORE_BY)
def test_the_limit_of_records_holds_by_every_way(server: Guarded, way: str) -> None:
    token = bearer()
    assert SCORE_BY[way](server, token, MOST_RECORDS).status == 200
    refused = SCORE_BY[way](server, token, MOST_RECORDS + 1)
    assert refused.status in (400, 422)
    assert str(MOST_RECORDS) in refused.text


@pytest.mark.parametrize("way", SCORE_BY)
def test_the_limit_of_bytes_holds_by_every_way(server: Guarded, way: str) -> None:
    refused = SCORE_BY[way](server, bearer(), 20_000)
    assert refused.status == (429 if way == "v2 grpc" else 413)  # RESOURCE_EXHAUSTED is both


_DEEP = b"[" * 50_000


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/score", "application/json"), ("/score", "application/x-ndjson"), ("/ingest", "application/json"),
     ("/v2/models/default/infer", "application/json"), ("/v1/models/default:predict", "application/json"),
     ("/v2/repository/index", "application/json")],
)  # fmt: skip
@pytest.mark.parametrize("body", [_DEEP, _DEEP + b"]" * 50_000, b'{"a":' * 40_000], ids=["open", "closed", "objects"])
def test_depth_is_refused_wherever_json_is_read(server: Guarded, path: str, kind: str, body: bytes) -> None:
    told = server.http("POST", path, body, authorization=bearer(), content_type=kind)
    # Without a database there is nobody to read a batch.
    assert told.status in ((503,) if path == "/ingest" else (400, 422))


def test_a_deep_tensor_is_refused(server: Guarded) -> None:
    body = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1,3],"data":' + _DEEP + b"]" * 50_000 + b"}]}"
    told = server.http("POST", "/v2/models/default/infer", body, authorization=bearer())
    assert told.status == 400


def test_a_compressed_message_is_measured_as_it_unfolds(server: Guarded) -> None:
    bomb = pb.ModelInferRequest(model_name="default", raw_input_contents=[bytes(100 * MOST_BYTES)])
    with pytest.raises(grpc.RpcError) as refusal:
        server.stub.ModelInfer(bomb, metadata=[("authorization", bearer())], compression=grpc.Compression.Gzip)
    error: Any = refusal.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_token_of_8_kib_is_taken_and_a_longer_one_refused_by_both_transports(server: Guarded) -> None:
    padding = 8 * 1024 * 3 // 4 - 350
    fitting, longer = bearer(jti="x" * padding), bearer(jti="x" * (padding + 400))
    assert len(fitting) < 8 * 1024 + len("Bearer ") < len(longer)
    for way in ("json", "v2 grpc"):
        assert SCORE_BY[way](server, fitting).status == 200
        assert SCORE_BY[way](server, longer).status == 401


# Before a token is known, nothing of a request is kept


def _status_before_the_body(server: Guarded, path: str) -> int:
    """Send half of a body, and return what is answered before the other half."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.running.port), timeout=10) as connection:
        connection.sendall(head.encode() + bytes(100_000))
        return int(connection.recv(4096).split()[1])


@pytest.mark.parametrize("path", ["/score", "/ingest", "/v2/models/default/infer", "/v1/models/default:predict"])
def test_a_body_without_a_token_is_refused_before_it_has_come(server: Guarded, path: str) -> None:
    assert _status_before_the_body(server, path) == 401


@pytest.mark.parametrize("path", ["/v2/nothing", "/v2/health/ready", "/v1/nothing", "/nothing", "/health"])
def test_where_no_token_is_needed_no_body_is_waited_for(server: Guarded, path: str) -> None:
    assert _status_before_the_body(server, path) in (404, 405)


def test_a_message_without_a_token_is_refused_before_it_has_come(server: Guarded) -> None:
    answered = threading.Event()

    def message() -> Iterator[bytes]:
        answered.wait(20)
        yield b""

    infer = server.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    try:
        with pytest.raises(grpc.RpcError) as refusal:
            infer(message(), timeout=10)
    finally:
        answered.set()
    error: Any = refusal.value
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_call_without_a_message_is_a_bad_request(server: Guarded) -> None:
    infer = server.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as refusal:
        infer(iter(()), metadata=[("authorization", bearer())], timeout=10)
    error: Any = refusal.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


# Where it listens


@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
def test_neither_port_is_open_at_another_address_than_the_one_that_was_set(server: Guarded, address: str) -> None:
    for port in (server.running.port, server.running.predictor.grpc_port):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(OSError, match=r"refused|unreachable|Cannot assign"):
            socket.create_connection((address, port), timeout=5)
