"""Calls of ``ModelInfer`` and the other methods over gRPC, valid and damaged, as bytes of messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuzz.damage import changed_bytes
from fuzz.rows import rows
from fuzz.subject import Served, Subject
from predictor.v2.kserve_sdk import prepare

SERVICE = "inference.GRPCInferenceService"
_TYPED = {"FP64": ("fp64_contents", float), "FP32": ("fp32_contents", float), "INT32": ("int_contents", int)}
_DTYPES = {"FP64": "<f8", "FP32": "<f4", "INT32": "<i4"}
_OUTPUTS = ("anomaly_score", "is_anomaly")
_OTHERS = {
    "ServerLive": (), "ServerReady": (), "ServerMetadata": (), "ModelReady": ("name", "version"),
    "ModelMetadata": ("name", "version"), "RepositoryModelLoad": ("model_name",),
    "RepositoryModelUnload": ("model_name",),
}  # fmt: skip
_HEALTH = "grpc.health.v1.Health/Check"
_NAMES = st.sampled_from(("", "default", "vans", "nobody", "../x", "\x00", "ü", "a" * 5000, "20240101000000", "1"))
_SIZES = st.sampled_from((0, 1, -1, -2, 3, 4, 5, 2**31, 2**62, -(2**63)))
_SHAPES = st.lists(_SIZES, max_size=4)
_DATATYPES = st.sampled_from(("", "FP64", "FP32", "FP16", "BOOL", "BYTES", "INT8", "UINT8", "UINT64", "x" * 300, "ü"))
_NUMBERS = st.lists(st.floats(width=32), max_size=6)
_DAMAGES = st.sampled_from(
    ("bytes", "model_name", "model_version", "id", "shape", "datatype", "typed", "raw", "second", "none", "outputs",
     "parameters")
)  # fmt: skip
_METADATA: st.SearchStrategy[tuple[str, str | bytes]] = st.sampled_from(
    (("x-request-id", "a"), ("x-request-id", "x" * 300), ("authorization", "Bearer x"), ("authorization", ""),
     ("traceparent", "00-0-0-00"), ("x-bin", b"\xff\x00"), ("content-language", "x"))
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A call.

    Args:
        method: its name.
        message: its bytes.
        metadata: beside the token.
        expected: the decision functions that a valid call must get; None for a damaged one.
        version: the version that answers.
        outputs: the names of the outputs, in order.

    """

    method: str
    message: bytes
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    expected: NDArray[np.float64] | None = None
    version: str = ""
    outputs: tuple[str, ...] = _OUTPUTS


def messages() -> Any:
    """Return KServe's generated messages."""
    prepare()
    from kserve.protocol.grpc import grpc_predict_v2_pb2  # noqa: PLC0415 - only now, or all of KServe comes with it

    return grpc_predict_v2_pb2


def calls(subject: Subject) -> st.SearchStrategy[Call]:
    """Return what draws calls: a third each of valid, damaged, and those of other methods."""
    pb = messages()
    return _valid(subject, pb) | _damaged(subject, pb) | _others(pb)


@st.composite
def _valid(draw: st.DrawFn, subject: Subject, pb: Any) -> Call:
    served = draw(st.sampled_from(subject.versions))
    X = draw(rows(served.forest))
    is_whole = bool((np.trunc(X) == X).all() and (np.abs(X) < 100).all())
    datatype = draw(st.sampled_from(tuple(_TYPED) if is_whole else ("FP64", "FP32")))
    request = _request(pb, served, X, datatype, raw=draw(st.booleans()))
    asked = draw(st.sampled_from(((), _OUTPUTS, _OUTPUTS[::-1], _OUTPUTS[:1])))
    request.outputs.extend(pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in asked)
    if served is subject.default and draw(st.booleans()):
        request.model_version = ""
    expected = served.scorer.score(X)
    return Call("ModelInfer", request.SerializeToString(), (), expected, served.version, asked or _OUTPUTS)


@st.composite
def _damaged(draw: st.DrawFn, subject: Subject, pb: Any) -> Call:
    call = draw(_valid(subject, pb))
    for _ in range(draw(st.integers(1, 2))):
        request = pb.ModelInferRequest()
        damage = draw(_DAMAGES)
        try:
            request.ParseFromString(call.message)
        except DecodeError:  # the damage before was to its bytes
            damage = "bytes"
        if damage == "bytes":
            call = replace(call, message=changed_bytes(draw, call.message))
        else:
            _damage(draw, pb, request, damage)
            call = replace(call, message=request.SerializeToString())
    metadata = tuple(draw(st.lists(_METADATA, max_size=1)))
    return replace(call, metadata=metadata, expected=None)


@st.composite
def _others(draw: st.DrawFn, pb: Any) -> Call:
    method = draw(st.sampled_from([*sorted(_OTHERS), _HEALTH, "Nothing", "a.b.C/D"]))
    if method in _OTHERS:
        named = {field: draw(_NAMES) for field in _OTHERS[method]}
        message = getattr(pb, f"{method}Request")(**named).SerializeToString()
    else:  # health is asked for a name alone, as ModelReady may be
        message = pb.ModelReadyRequest(name=draw(_NAMES)).SerializeToString()
    if draw(st.booleans()):
        message = changed_bytes(draw, message)
    return Call(method, message, tuple(draw(st.lists(_METADATA, max_size=1))))


def _request(pb: Any, served: Served, X: NDArray[np.float64], datatype: str, *, raw: bool) -> Any:
    tensor = pb.ModelInferRequest.InferInputTensor(name="features", datatype=datatype, shape=list(X.shape))
    request = pb.ModelInferRequest(model_name=served.model, model_version=served.version, id="i")
    if raw:
        request.raw_input_contents.append(X.astype(_DTYPES[datatype]).tobytes())
    else:
        field, kind = _TYPED[datatype]
        values = X.astype(np.float32) if datatype == "FP32" else X
        getattr(tensor.contents, field).extend(kind(value) for value in values.ravel().tolist())
    request.inputs.append(tensor)
    return request


def _damage(draw: st.DrawFn, pb: Any, request: Any, damage: str) -> None:
    """Change one thing about a message that can be read."""
    tensor = request.inputs[0] if request.inputs else request.inputs.add()
    if damage in ("model_name", "model_version", "id"):
        setattr(request, damage, draw(_NAMES))
    elif damage == "datatype":
        tensor.datatype = draw(_DATATYPES)
    elif damage == "shape":
        tensor.shape[:] = draw(_SHAPES)
    elif damage == "typed":
        field = draw(st.sampled_from(("fp64_contents", "fp32_contents")))
        getattr(tensor.contents, field).extend(draw(_NUMBERS))
    elif damage == "raw":
        request.raw_input_contents.append(draw(st.binary(max_size=40)))
    elif damage == "second":
        request.inputs.append(tensor)
    elif damage == "none":
        del request.inputs[:]
    elif damage == "outputs":
        request.outputs.append(pb.ModelInferRequest.InferRequestedOutputTensor(name=draw(_NAMES)))
    else:
        request.parameters[draw(_NAMES)].int64_param = 1
