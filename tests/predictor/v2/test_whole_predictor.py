"""The protocol on a whole predictor, composed as a pod has it: tokens, quotas, limits, versions that come late."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from predictor.v2 import kserve_sdk
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from tests.predictor.forests import publish, stump_forest
from tests.predictor.running import Running, running
from tests.predictor.v2.asking import HEADER, binary_body, body, normal_rows, tensor
from tests.predictor.v2.serving import FEATURES, NEW, OLD

kserve_sdk.prepare()

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb  # noqa: E402 - after it is made ready
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub  # noqa: E402 - the same

OLDEST = "20231201000000"
SECRET = "of-thirty-two-bytes-or-even-more"
INFER = "/v2/models/default/infer"
ROW = [2.0, 3.0, 4.0]
SCORE = -0.24089641525371452
MOST_BYTES = 512 * 1024
BURST = 400
Code = grpc.StatusCode


def _publish(objects: Path) -> None:
    models = ModelStore(LocalObjectStore(objects))
    for version in (OLDEST, OLD, NEW):
        publish(models, "default", version, stump_forest(FEATURES))


def _token(scope: str, subject: str = "someone") -> str:
    claims = {"sub": subject, "scope": scope, "exp": int(time.time()) + 600}
    return f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A predictor with everything on, and memory for no version beside the default and the last one asked for."""
    objects = tmp_path_factory.mktemp("objects")
    _publish(objects)
    with running(
        None,
        objects,
        model="default",
        model_version=NEW,
        auth_secret=SECRET,
        rate_limit=0.1,
        rate_limit_burst=BURST,
        max_body_bytes=MOST_BYTES,
        loaded_models_bytes=0,
    ) as started:
        _wait_until_ready(started.client)
        yield started


def _wait_until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + 20
    while client.get("/v2/health/ready").status_code != 200:
        assert time.monotonic() < deadline, "it did not become ready within 20 s"


@pytest.fixture
def channel(pod: Running) -> Iterator[grpc.Channel]:
    address = f"127.0.0.1:{pod.predictor.grpc_port}"
    with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as opened:
        yield opened


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    return GRPCInferenceServiceStub(channel)


def _error(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    document = answer.json()
    assert list(document) == ["error"]
    return str(document["error"])


def _ask(values: Any = ROW, **more: Any) -> Any:
    head = pb.ModelInferRequest.InferInputTensor(name="features", datatype="FP64", shape=[1, 3])
    head.contents.fp64_contents.extend(values)
    return pb.ModelInferRequest(model_name="default", inputs=[head], **more)


def _refused(call: Callable[[], object]) -> tuple[Code, str, dict[str, Any]]:
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    error: Any = refusal.value
    return error.code(), error.details(), dict(error.trailing_metadata())


READ_ROUTES = [
    "/v2",
    "/v2/models",
    "/v2/models/default",
    "/v2/models/default/ready",
    f"/v2/models/default/versions/{OLD}",
    f"/v2/models/default/versions/{OLD}/ready",
    "/v1/models",
    "/v1/models/default",
]
SCORE_ROUTES = [INFER, f"/v2/models/default/versions/{OLD}/infer", "/v1/models/default:predict"]


@pytest.mark.parametrize("path", READ_ROUTES)
def test_metadata_needs_its_scope(pod: Running, path: str) -> None:
    _needs(pod, "GET", path, "models:read", "telemetry:score")


@pytest.mark.parametrize("path", SCORE_ROUTES)
def test_scoring_needs_its_scope(pod: Running, path: str) -> None:
    _needs(pod, "POST", path, "telemetry:score", "models:read")


def test_the_index_needs_the_scope_of_metadata(pod: Running) -> None:
    _needs(pod, "POST", "/v2/repository/index", "models:read", "telemetry:score")


def _needs(pod: Running, method: str, path: str, scope: str, other: str) -> None:
    content = b'{"instances": []}' if ":predict" in path else body(tensor(ROW, [1, 3]))
    asked = pod.client.build_request(method, path, content=content if method == "POST" else None)
    nobody = pod.client.send(asked)
    _error(nobody, 401)
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    asked.headers["authorization"] = _token(other)
    assert scope in _error(pod.client.send(asked), 403)
    asked.headers["authorization"] = _token(scope)
    assert pod.client.send(asked).status_code == 200


def test_liveness_and_readiness_need_no_token(pod: Running, stub: Any, channel: grpc.Channel) -> None:
    assert pod.client.get("/v2/health/live").json() == {"live": True}
    assert pod.client.get("/v2/health/ready").json() == {"ready": True}
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_calls_over_grpc_need_the_same_tokens(stub: Any) -> None:
    score, read = [("authorization", _token("telemetry:score"))], [("authorization", _token("models:read"))]
    metadata = pb.ModelMetadataRequest(name="default")
    code, _, told = _refused(lambda: stub.ModelInfer(_ask()))
    assert code is Code.UNAUTHENTICATED
    assert told["www-authenticate"].startswith("Bearer")
    assert told["x-request-id"]
    assert _refused(lambda: stub.ModelInfer(_ask(), metadata=[("authorization", "Bearer x.y.z")]))[0] is (
        Code.UNAUTHENTICATED
    )
    code, detail, _ = _refused(lambda: stub.ModelInfer(_ask(), metadata=read))
    assert code is Code.PERMISSION_DENIED
    assert "telemetry:score" in detail
    assert _refused(lambda: stub.ModelMetadata(metadata, metadata=score))[0] is Code.PERMISSION_DENIED
    assert stub.ModelInfer(_ask(), metadata=score).outputs[0].contents.fp64_contents[0] == SCORE
    assert list(stub.ModelMetadata(metadata, metadata=read).versions) == [NEW, OLD, OLDEST]


def test_one_quota_counts_both_transports(pod: Running, stub: Any) -> None:
    greedy = _token("telemetry:score", "greedy")
    answers = [
        pod.client.post(INFER, content=body(tensor(ROW, [1, 3])), headers={"authorization": greedy})
        for _ in range(BURST // 2)
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" in answers[-1].headers
    metadata = [("authorization", greedy), ("x-request-id", "mine-1")]
    for _ in range(BURST // 2):
        stub.ModelInfer(_ask(), metadata=metadata)
    code, detail, told = _refused(lambda: stub.ModelInfer(_ask(), metadata=metadata))
    assert code is Code.RESOURCE_EXHAUSTED
    assert "wait" in detail
    assert int(told["retry-after"]) > 0
    assert told["x-request-id"] == "mine-1"
    refused = pod.client.post(INFER, content=body(tensor(ROW, [1, 3])), headers={"authorization": greedy})
    assert "wait" in _error(refused, 429)
    assert int(refused.headers["retry-after"]) > 0


def test_a_body_beyond_the_limit_is_told_it(pod: Running) -> None:
    headers = {"authorization": _token("telemetry:score")}
    large = body(tensor(ROW, [1, 3]), id="x" * MOST_BYTES)
    assert f"the limit is {MOST_BYTES}" in _error(pod.client.post(INFER, content=large, headers=headers), 413)
    in_chunks = iter([large[:1000], large[1000:]])
    assert f"the limit is {MOST_BYTES}" in _error(pod.client.post(INFER, content=in_chunks, headers=headers), 413)


def test_a_message_beyond_the_limit_is_refused(stub: Any) -> None:
    metadata = [("authorization", _token("telemetry:score"))]
    large = _ask()
    large.parameters["note"].string_param = "x" * MOST_BYTES
    code, detail, _ = _refused(lambda: stub.ModelInfer(large, metadata=metadata))
    assert code is Code.RESOURCE_EXHAUSTED
    assert f"larger than max ({large.ByteSize()} vs. {MOST_BYTES})" in detail
    code, detail, _ = _refused(lambda: stub.ModelInfer(large, metadata=metadata, compression=grpc.Compression.Gzip))
    assert code is Code.RESOURCE_EXHAUSTED
    assert "larger than max" in detail
    small = stub.ModelInfer(_ask(id="7"), metadata=metadata, compression=grpc.Compression.Gzip)
    assert small.id == "7"


def test_a_body_in_chunks_is_a_body(pod: Running) -> None:
    headers = {"authorization": _token("telemetry:score")}
    whole = body(tensor(ROW, [1, 3]), id="7")
    answer = pod.client.post(INFER, content=iter([whole[:10], whole[10:]]), headers=headers)
    assert (answer.status_code, answer.json()["id"]) == (200, "7")


def test_versions_are_loaded_when_they_are_asked_for_and_the_least_recently_used_is_dropped(
    pod: Running, stub: Any
) -> None:
    headers = {"authorization": _token("telemetry:score models:read")}
    loaded = pod.predictor.loaded
    for _ in range(2):
        for version in (OLD, OLDEST):
            path = f"/v2/models/default/versions/{version}"
            answer = pod.client.post(f"{path}/infer", content=body(tensor(ROW, [1, 3])), headers=headers)
            assert answer.json()["model_version"] == version
            assert loaded.versions_of("default") == sorted([version, NEW])
            assert pod.client.get(f"{path}/ready", headers=headers).status_code == 200
    metadata = [("authorization", headers["authorization"])]
    assert stub.ModelInfer(_ask(model_version=OLD), metadata=metadata).model_version == OLD
    assert loaded.versions_of("default") == [OLD, NEW]
    assert stub.ModelReady(pb.ModelReadyRequest(name="default", version=OLDEST), metadata=metadata).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="default", version="20200101000000"), metadata=metadata).ready


def test_curl_by_every_form(pod: Running, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: install it from your distribution's packages")
    rows = normal_rows(3000)
    binary, size = binary_body(rows, parameters={"binary_data_output": True})
    (tmp_path / "binary").write_bytes(binary)
    (tmp_path / "json").write_bytes(body(tensor(rows.tolist(), [3000, 3])))
    url = f"http://127.0.0.1:{pod.port}{INFER}"
    token = f"Authorization: {_token('telemetry:score')}"

    def curl(*arguments: str) -> bytes:
        command = ["curl", "-sS", "--fail-with-body", "-H", token, *arguments, url]
        return subprocess.run(command, capture_output=True, check=True, timeout=30).stdout

    by_binary = curl("--data-binary", f"@{tmp_path / 'binary'}", "-H", f"{HEADER}: {size}")
    in_chunks = curl("--data-binary", f"@{tmp_path / 'json'}", "-H", "Transfer-Encoding: chunked")
    after_leave = curl("--data-binary", f"@{tmp_path / 'json'}", "-H", "Expect: 100-continue", "-H", "Content-Type:")
    decision = np.frombuffer(by_binary[-9 * 3000 : -3000], "<f8").tolist()
    assert in_chunks == after_leave
    assert httpx.Response(200, content=in_chunks).json()["outputs"][0]["data"] == decision


def test_a_pod_whose_version_is_another_than_was_ordered_is_alive_and_not_ready(tmp_path: Path) -> None:
    _publish(tmp_path)
    wrong = f"sha256:{'0' * 64}"
    with running(None, tmp_path, model="default", model_version=NEW, artifact_digest=wrong) as started:
        client = started.client
        assert client.get("/v2/health/live").status_code == 200
        assert "not ready" in _error(client.get("/v2/health/ready"), 503)
        assert _error(client.get("/v2/models/default/ready"), 503)
        assert _error(client.get("/v1/models/default"), 503)
        assert wrong in _error(client.post(INFER, content=body(tensor(ROW, [1, 3]))), 503)
        index = client.post("/v2/repository/index").json()
        assert [entry["state"] for entry in index] == ["UNAVAILABLE", "READY", "READY"]
        assert wrong in index[0]["reason"]
        can_serve = client.post("/v2/repository/index", json={"ready": True}).json()
        assert [entry["version"] for entry in can_serve] == [OLD, OLDEST]
        with grpc.insecure_channel(f"127.0.0.1:{started.predictor.grpc_port}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            assert stub.ServerLive(pb.ServerLiveRequest()).live
            assert not stub.ServerReady(pb.ServerReadyRequest()).ready
            assert not stub.ModelReady(pb.ModelReadyRequest(name="default")).ready
            assert _refused(lambda: stub.ModelInfer(_ask()))[0] is Code.UNAVAILABLE
            assert stub.ModelInfer(_ask(model_version=OLD)).model_version == OLD
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
