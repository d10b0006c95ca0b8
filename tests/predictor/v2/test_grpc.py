"""The protocol over gRPC, by the generated stubs."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from predictor.errors import CannotListen
from predictor.v2 import kserve_sdk
from tests.predictor.v2.asking import NUMPY, normal_rows
from tests.predictor.v2.conftest import MOST_BYTES, MOST_ROWS
from tests.predictor.v2.serving import FEATURES, NEW, OLD, Serving

kserve_sdk.prepare()

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb  # noqa: E402 - after it is made ready
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub  # noqa: E402 - the same

Code = grpc.StatusCode
ROW = [2.0, 3.0, 4.0]
SCORE = -0.24089641525371452
SERVICE = "inference.GRPCInferenceService"


@pytest.fixture
def channel(protocol: Serving) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(
        f"127.0.0.1:{protocol.grpc_port}", options=[("grpc.max_send_message_length", -1)]
    ) as opened:
        yield opened


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    return GRPCInferenceServiceStub(channel)


@pytest.fixture
def closed(protocol: Serving) -> Iterator[None]:
    """Admission wants tokens."""
    protocol.parts.gate.closed = True
    yield
    protocol.parts.gate.closed = False


def ask(values: Any = ROW, shape: tuple[int, ...] = (1, 3), datatype: str = "FP64", **more: Any) -> Any:
    head = pb.ModelInferRequest.InferInputTensor(name="features", datatype=datatype, shape=shape)
    head.contents.fp64_contents.extend(values)
    return pb.ModelInferRequest(model_name="default", inputs=[head], **more)


def ask_raw(rows: Any, datatype: str = "FP64", **more: Any) -> Any:
    head = pb.ModelInferRequest.InferInputTensor(name="features", datatype=datatype, shape=rows.shape)
    return pb.ModelInferRequest(model_name="default", inputs=[head], raw_input_contents=[rows.tobytes()], **more)


def refused(call: Callable[[], object]) -> tuple[Code, str, dict[str, Any]]:
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    error: Any = refusal.value
    return error.code(), error.details(), dict(error.trailing_metadata())


def test_liveness_and_readiness(protocol: Serving, stub: Any) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    protocol.parts.is_ready[0] = False
    try:
        assert not stub.ServerReady(pb.ServerReadyRequest()).ready
        assert stub.ServerLive(pb.ServerLiveRequest()).live
    finally:
        protocol.parts.is_ready[0] = True


def test_metadata(stub: Any) -> None:
    server = stub.ServerMetadata(pb.ServerMetadataRequest())
    assert (server.name, server.version) == ("telltale", "1.2.3")
    assert list(server.extensions) == ["binary_tensor_data", "model_repository"]
    model = stub.ModelMetadata(pb.ModelMetadataRequest(name="default"))
    assert (model.name, list(model.versions), model.platform) == ("default", [NEW, OLD], "telltale_isolation_forest")
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in (*model.inputs, *model.outputs)] == [
        ("features", "FP64", [-1, 3]),
        ("anomaly_score", "FP64", [-1]),
        ("is_anomaly", "BOOL", [-1]),
    ]
    assert stub.ModelMetadata(pb.ModelMetadataRequest(name="default", version=OLD)) == model


@pytest.mark.parametrize(("name", "version"), [("nothing", ""), ("default", "20200101000000"), ("default", "x")])
def test_what_is_not_there_is_not_found(stub: Any, name: str, version: str) -> None:
    metadata = refused(lambda: stub.ModelMetadata(pb.ModelMetadataRequest(name=name, version=version)))
    infer = ask(model_version=version)
    infer.model_name = name
    inferred = refused(lambda: stub.ModelInfer(infer))
    assert metadata[0] is inferred[0] is Code.NOT_FOUND
    assert repr(name) in metadata[1]
    assert repr(name) in inferred[1]
    assert not stub.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready


def test_readiness_of_models(stub: Any) -> None:
    assert stub.ModelReady(pb.ModelReadyRequest(name="default")).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="default", version=OLD)).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="undecided")).ready


def test_infer_by_a_list(stub: Any) -> None:
    answer = stub.ModelInfer(ask(id="7"))
    assert (answer.model_name, answer.model_version, answer.id) == ("default", NEW, "7")
    assert [(output.name, output.datatype, list(output.shape)) for output in answer.outputs] == [
        ("anomaly_score", "FP64", [1]),
        ("is_anomaly", "BOOL", [1]),
    ]
    assert list(answer.outputs[0].contents.fp64_contents) == [SCORE]
    assert list(answer.outputs[1].contents.bool_contents) == [True]
    assert not answer.raw_output_contents


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("FP64", "fp64_contents"),
        ("FP32", "fp32_contents"),
        ("INT64", "int64_contents"),
        ("INT32", "int_contents"),
        ("INT16", "int_contents"),
        ("INT8", "int_contents"),
        ("UINT64", "uint64_contents"),
        ("UINT32", "uint_contents"),
        ("UINT16", "uint_contents"),
        ("UINT8", "uint_contents"),
    ],
)
def test_every_datatype_of_numbers_is_taken_as_a_list_and_as_bytes(stub: Any, datatype: str, field: str) -> None:
    head = pb.ModelInferRequest.InferInputTensor(name="features", datatype=datatype, shape=[1, 3])
    getattr(head.contents, field).extend([2, 3, 4])
    listed = stub.ModelInfer(pb.ModelInferRequest(model_name="default", inputs=[head]))
    assert list(listed.outputs[0].contents.fp64_contents) == [SCORE]
    raw = stub.ModelInfer(ask_raw(np.array([[2, 3, 4]], NUMPY[datatype]), datatype))
    assert np.frombuffer(raw.raw_output_contents[0], "<f8").tolist() == [SCORE]


def test_half_floats_are_taken_as_bytes(stub: Any) -> None:
    answer = stub.ModelInfer(ask_raw(np.array([ROW], "<f2"), "FP16"))
    assert np.frombuffer(answer.raw_output_contents[0], "<f8").tolist() == [SCORE]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16"])
def test_what_is_not_finite_is_refused_in_every_form(stub: Any, datatype: str, value: float) -> None:
    rows = np.array([ROW, ROW], NUMPY[datatype])
    rows[1, 2] = value
    said = [refused(lambda: stub.ModelInfer(ask_raw(rows, datatype)))]
    if datatype != "FP16":
        head = pb.ModelInferRequest.InferInputTensor(name="features", datatype=datatype, shape=[2, 3])
        getattr(head.contents, f"{datatype.lower()}_contents").extend(rows.ravel().tolist())
        request = pb.ModelInferRequest(model_name="default", inputs=[head])
        said.append(refused(lambda: stub.ModelInfer(request)))
    for code, detail, _ in said:
        assert code is Code.INVALID_ARGUMENT
        assert f"row 1, feature 2 (temperature) is {value}" in detail


def test_infer_by_bytes(stub: Any) -> None:
    answer = stub.ModelInfer(ask_raw(np.array([ROW, [0.0, 0.0, 0.0]], np.float32), "FP32"))
    assert np.frombuffer(answer.raw_output_contents[0], "<f8").tolist() == [SCORE, 0.35]
    assert answer.raw_output_contents[1] == b"\x01\x00"
    assert not answer.outputs[0].HasField("contents")


def test_a_version_that_is_named_answers(stub: Any) -> None:
    assert stub.ModelInfer(ask([0.7, 0, 0], model_version=OLD)).outputs[1].contents.bool_contents[0]
    assert not stub.ModelInfer(ask([0.7, 0, 0])).outputs[1].contents.bool_contents[0]


def test_outputs_come_in_the_order_in_which_they_are_asked_for(stub: Any) -> None:
    wanted = [pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in ("is_anomaly", "anomaly_score")]
    answer = stub.ModelInfer(ask(outputs=wanted))
    assert [output.name for output in answer.outputs] == ["is_anomaly", "anomaly_score"]
    answer = stub.ModelInfer(ask_raw(np.array([ROW]), outputs=wanted[:1]))
    assert list(answer.raw_output_contents) == [b"\x01"]


def test_parameters_are_taken_at_every_level(stub: Any) -> None:
    request = ask(outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="is_anomaly")])
    for holder in (request, request.inputs[0], request.outputs[0]):
        holder.parameters["note"].string_param = "x"
        holder.parameters["n"].int64_param = 1
    assert len(stub.ModelInfer(request).outputs) == 1


def test_a_large_request_is_answered_like_a_small_one(protocol: Serving, stub: Any) -> None:
    rows = normal_rows(MOST_ROWS)
    loaded = protocol.parts.loaded.default("default")
    assert loaded is not None
    expected = loaded.scorer.score(rows)
    assert stub.ModelInfer(ask_raw(rows)).raw_output_contents[0] == expected.tobytes()
    listed = stub.ModelInfer(ask(rows.ravel().tolist(), rows.shape))
    assert list(listed.outputs[0].contents.fp64_contents) == expected.tolist()


def _wrong_field() -> Any:
    request = ask()
    request.inputs[0].contents.int64_contents.append(1)
    return request


def _both() -> Any:
    request = ask()
    request.raw_input_contents.append(bytes(24))
    return request


def _one_for_each_feature() -> Any:
    heads = [pb.ModelInferRequest.InferInputTensor(name=name, datatype="FP64", shape=[1]) for name in FEATURES]
    return pb.ModelInferRequest(model_name="default", inputs=heads, raw_input_contents=[bytes(8)] * 3)


def _two() -> Any:
    request = ask()
    request.inputs.append(request.inputs[0])
    return request


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (pb.ModelInferRequest(model_name="default"), "inputs has 0 tensors"),
        (_two(), "inputs has 2 tensors"),
        (ask([1, 2]), "inputs[0] has 2 values, and its shape [1, 3]"),
        (ask([1, 2, 3, 4], (1, 4)), "inputs[0].shape is [1, 4]; model 'default' takes [rows, 3]"),
        (ask([1, 2], (1, 2)), "inputs[0].shape is [1, 2]; model 'default' takes [rows, 3]"),
        (ask(shape=(1, 4)), "inputs[0].shape is [1, 4]; model 'default' takes [rows, 3]"),
        (ask(shape=(2**62, 3)), "the limit is 2000"),
        (ask(datatype="BYTES"), "'BYTES'; a model takes numbers"),
        (ask_raw(np.array([[True, False, True]]), "BOOL"), "'BOOL'; a model takes numbers"),
        (ask(datatype="FP32"), "inputs[0] has fp64_contents, and its datatype FP32 has its values in fp32_contents"),
        (ask(datatype="FP16"), "FP16, which comes as binary data alone"),
        (_wrong_field(), "inputs[0] has int64_contents"),
        (_both(), "inputs[0] has contents, and there is a raw_input_contents"),
        (ask([1, 2, float("nan")]), "row 0, feature 2 (temperature) is nan"),
        (ask([1, float("-inf"), 1]), "row 0, feature 1 (rpm) is -inf"),
        (ask([1e39, 1, 1]), "row 0, feature 0 (speed) is 1e+39"),
        (ask_raw(np.full((2, 3), np.inf)), "row 0, feature 0 (speed) is inf"),
        (_one_for_each_feature(), "inputs has 3 tensors; a model takes one, with all features"),
        (ask(outputs=[pb.ModelInferRequest.InferRequestedOutputTensor()] * 20_000), "more than 10000 fields"),
        (ask_raw(np.zeros((MOST_ROWS + 1, 3))), f"has {MOST_ROWS + 1} rows; the limit is {MOST_ROWS}"),
        (ask(outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="x")]), "outputs[0] asks for 'x'"),
    ],
)
def test_requests_that_cannot_be_taken(stub: Any, request_: Any, sentence: str) -> None:
    code, detail, _ = refused(lambda: stub.ModelInfer(request_))
    assert code is Code.INVALID_ARGUMENT
    assert sentence in detail


def test_bytes_that_are_no_message(channel: grpc.Channel) -> None:
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer", _registered_method=False)
    code, detail, _ = refused(lambda: call(b"\xff\xff\xff"))
    assert code is Code.INVALID_ARGUMENT
    assert "the message is no ModelInferRequest" in detail


def test_a_method_that_there_is_not(channel: grpc.Channel) -> None:
    assert refused(lambda: channel.unary_unary(f"/{SERVICE}/ModelStreamInfer")(b""))[0] is Code.UNIMPLEMENTED


def test_models_are_neither_loaded_nor_unloaded_by_clients(stub: Any) -> None:
    for call, request in (
        (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="default")),
        (stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name="default")),
    ):
        code, detail, _ = refused(lambda call=call, request=request: call(request))
        assert code is Code.FAILED_PRECONDITION
        assert "by clients" in detail


def test_a_message_beyond_the_limit_is_refused(stub: Any) -> None:
    request = ask()
    request.parameters["note"].string_param = "x" * MOST_BYTES
    code, detail, _ = refused(lambda: stub.ModelInfer(request))
    assert code is Code.RESOURCE_EXHAUSTED
    assert f"larger than max ({request.ByteSize()} vs. {MOST_BYTES})" in detail


@pytest.mark.usefixtures("closed")
def test_tokens_and_their_scopes(stub: Any) -> None:
    infer, metadata = ask(), pb.ModelMetadataRequest(name="default")
    assert refused(lambda: stub.ModelInfer(infer))[0] is Code.UNAUTHENTICATED
    score = [("authorization", "Bearer telemetry:score")]
    read = [("authorization", "Bearer models:read")]
    assert stub.ModelInfer(infer, metadata=score).outputs
    assert refused(lambda: stub.ModelInfer(infer, metadata=read))[0] is Code.PERMISSION_DENIED
    assert stub.ModelMetadata(metadata, metadata=read).name == "default"
    assert refused(lambda: stub.ModelMetadata(metadata, metadata=score))[0] is Code.PERMISSION_DENIED
    for method, request in (
        (stub.ServerMetadata, pb.ServerMetadataRequest()),
        (stub.ModelReady, pb.ModelReadyRequest(name="default")),
        (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest()),
    ):
        assert refused(lambda method=method, request=request: method(request))[0] is Code.UNAUTHENTICATED
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready


@pytest.mark.usefixtures("closed")
def test_a_client_that_asks_too_often_is_told_when_to_come_back(stub: Any) -> None:
    often = [("authorization", "Bearer often")]
    code, detail, metadata = refused(lambda: stub.ModelInfer(ask(), metadata=often))
    assert code is Code.RESOURCE_EXHAUSTED
    assert "wait 3 s" in detail
    assert metadata["x-request-id"]


def test_request_ids_and_quotas_come_back_as_metadata(protocol: Serving, stub: Any) -> None:
    _, call = stub.ModelInfer.with_call(ask(), metadata=[("x-request-id", "mine-1")])
    told = dict(call.trailing_metadata())
    assert told["x-request-id"] == "mine-1"
    assert told["ratelimit-remaining"] == "7"
    assert protocol.parts.notes.request_ids[-1] == "mine-1"
    _, call = stub.ModelInfer.with_call(ask(), metadata=[("x-request-id", "x" * 1000)])
    made = dict(call.trailing_metadata())["x-request-id"]
    assert len(made) == 32
    assert protocol.parts.notes.request_ids[-1] == made
    assert protocol.parts.notes.taken[-1] == ("v2-grpc", NEW, 1)


def test_a_fault_of_the_server_is_logged_and_not_told(
    protocol: Serving, stub: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret cause")

    monkeypatch.setattr(protocol.parts.inference, "resident", fail)
    with caplog.at_level(logging.ERROR):
        code, detail, metadata = refused(lambda: stub.ModelInfer(ask()))
    assert code is Code.INTERNAL
    assert "secret" not in detail
    assert metadata["x-request-id"] in detail
    assert "the secret cause" in caplog.text


def test_health(protocol: Serving, channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    serving, waiting = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    for service in ("", SERVICE):
        assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == serving
    assert refused(lambda: health.Check(health_pb2.HealthCheckRequest(service="x")))[0] is Code.NOT_FOUND

    watched = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    unknown = health.Watch(health_pb2.HealthCheckRequest(service="x"))
    assert next(watched).status == serving
    assert next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    protocol.parts.is_ready[0] = False
    try:
        assert next(watched).status == waiting
        assert health.Check(health_pb2.HealthCheckRequest()).status == waiting
    finally:
        protocol.parts.is_ready[0] = True
    assert next(watched).status == serving
    watched.cancel()
    unknown.cancel()


def test_reflection_tells_the_services_and_their_messages(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    listed, described = stub.ServerReflectionInfo(iter(asked))
    assert [service.name for service in listed.list_services_response.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        SERVICE,
    ]
    assert b"ModelInferRequest" in described.file_descriptor_response.file_descriptor_proto[0]


def test_a_port_that_is_taken_is_noticed(protocol: Serving) -> None:
    from predictor.v2.grpc_server import GrpcServer

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for port in (taken.getsockname()[1], protocol.grpc_port):
            server = GrpcServer(protocol.parts.calls, lambda: True, max_message_bytes=1000)
            with pytest.raises(CannotListen, match="TELLTALE_GRPC_PORT"):
                protocol.run(server.start(f"127.0.0.1:{port}"))


class Slow:
    """A plane whose readiness comes only when it is told to."""

    def __init__(self) -> None:
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()
        self.was_cut_off = False

    async def ready(self) -> bool:
        self.arrived.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.was_cut_off = True
            raise
        return True


class Observed:
    """Keeps how calls ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str]] = []
        self.ended = asyncio.Event()

    def begin(self, call: Any, request_id: str) -> object:  # noqa: ARG002 - the port's shape
        return None

    def end(self, call: Any, noted: object, code: grpc.StatusCode, seconds: float) -> None:
        assert noted is None
        assert seconds >= 0
        self.ends.append((call.method, code.name))
        self.ended.set()


@asynccontextmanager
async def _slow_server(protocol: Serving) -> AsyncIterator[tuple[Any, Any, Slow, Observed]]:
    """A server of its own whose ``ServerReady`` hangs, a stub for it, and what it notes."""
    from predictor.v2.grpc_calls import GrpcCalls
    from predictor.v2.grpc_server import GrpcServer

    slow, observed = Slow(), Observed()
    plane: Any = slow
    calls = GrpcCalls(protocol.parts.inference, plane, protocol.parts.gate, observed)
    server = GrpcServer(calls, lambda: True, max_message_bytes=1 << 20)
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield server, channel, slow, observed
    slow.go_on.set()
    await server.stop(0)


def test_a_call_under_way_is_answered_before_the_server_stops(protocol: Serving) -> None:
    async def stop_under_a_call() -> bool:
        async with _slow_server(protocol) as (server, channel, slow, observed):
            call = GRPCInferenceServiceStub(channel).ServerReady(pb.ServerReadyRequest())
            await slow.arrived.wait()
            stopping = asyncio.ensure_future(server.stop(20))
            await asyncio.sleep(0)
            slow.go_on.set()
            answer = await call
            await stopping
            assert observed.ends == [("ServerReady", "OK")]
            return bool(answer.ready)

    assert protocol.run(stop_under_a_call())


def test_a_call_that_does_not_end_is_cut_off_after_the_grace(protocol: Serving) -> None:
    async def stop_under_a_call() -> tuple[Any, bool]:
        async with _slow_server(protocol) as (server, channel, slow, observed):
            call = GRPCInferenceServiceStub(channel).ServerReady(pb.ServerReadyRequest())
            await slow.arrived.wait()
            await asyncio.wait_for(server.stop(0.05), 10)
            with pytest.raises(grpc.aio.AioRpcError) as cut_off:
                await call
            await observed.ended.wait()
            assert observed.ends == [("ServerReady", "CANCELLED")]
            return cut_off.value.code(), slow.was_cut_off

    code, was_cut_off = protocol.run(stop_under_a_call())
    assert code in (Code.UNAVAILABLE, Code.CANCELLED)
    assert was_cut_off


def test_a_call_whose_client_goes_away_ends_and_is_noted(protocol: Serving) -> None:
    async def go_away() -> None:
        async with _slow_server(protocol) as (_, channel, slow, observed):
            call = GRPCInferenceServiceStub(channel).ServerReady(pb.ServerReadyRequest())
            await slow.arrived.wait()
            call.cancel()
            await asyncio.wait_for(observed.ended.wait(), 10)
            assert slow.was_cut_off
            assert observed.ends == [("ServerReady", "CANCELLED")]

    protocol.run(go_away())


def test_who_watches_health_is_told_of_the_end_and_does_not_hold_it_up(protocol: Serving) -> None:
    async def stop_under_a_watch() -> list[int]:
        async with _slow_server(protocol) as (server, channel, _, _):
            watched = aiter(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()))
            first = await anext(watched)
            await asyncio.wait_for(server.stop(3600), 10)
            return [first.status, *[answer.status async for answer in watched]]

    serving, waiting = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert protocol.run(stop_under_a_watch()) == [serving, waiting]
