"""The same rows by JSON, by bytes and by gRPC are the same rows, and score to the same bits as the scorer gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from predictor.v2 import kserve_sdk
from predictor.v2.errors import BadInferRequest
from predictor.v2.json_answer import infer_answer, lone_answer
from predictor.v2.json_request import lone_record, read_request
from predictor.v2.outputs import AS_BYTES, AS_LISTS
from scoring.kernel import scorer
from tests.predictor.forests import stump_forest
from tests.predictor.v2.asking import NUMPY, SIGNATURE, binary_body, body, tensor
from tests.predictor.v2.serving import FEATURES

kserve_sdk.prepare()

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb  # noqa: E402 - after it is made ready

from predictor.v2 import grpc_codec  # noqa: E402 - the same

SCORER = scorer(stump_forest(FEATURES, threshold=0.1))
FIELDS = {"FP64": "fp64_contents", "FP32": "fp32_contents", "INT32": "int_contents", "INT64": "int64_contents"}
FIELDS |= {"UINT8": "uint_contents", "UINT64": "uint64_contents", "INT8": "int_contents", "UINT16": "uint_contents"}
FIELDS |= {"UINT32": "uint_contents", "INT16": "int_contents"}


def _values(datatype: str) -> st.SearchStrategy[Any]:
    dtype = np.dtype(NUMPY[datatype])
    if dtype.kind == "f":
        width: Any = 8 * min(dtype.itemsize, 4)
        return st.floats(width=width, allow_nan=False, allow_infinity=False)
    limits = np.iinfo(dtype)
    return st.integers(int(limits.min), int(limits.max))


def batches(datatype: str) -> st.SearchStrategy[NDArray[Any]]:
    """Batches of 0 to 20 rows of three features."""
    row = st.lists(_values(datatype), min_size=3, max_size=3)
    return st.lists(row, max_size=20).map(lambda rows: np.array(rows, NUMPY[datatype]).reshape(len(rows), 3))


def grpc_request(rows: NDArray[Any], datatype: str, *, raw: bool) -> Any:
    """A ModelInferRequest with the rows in their typed field, or as bytes."""
    head = pb.ModelInferRequest.InferInputTensor(name="features", datatype=datatype, shape=rows.shape)
    request = pb.ModelInferRequest(model_name="default", inputs=[head])
    if raw:
        request.raw_input_contents.append(rows.tobytes())
    else:
        getattr(request.inputs[0].contents, FIELDS[datatype]).extend(rows.ravel().tolist())
    return request


def _by_flat_json(rows: NDArray[Any], datatype: str) -> Any:
    return read_request(body(tensor(rows.ravel().tolist(), list(rows.shape), datatype)), None, SIGNATURE).rows


def _by_nested_json(rows: NDArray[Any], datatype: str) -> Any:
    return read_request(body(tensor(rows.tolist(), list(rows.shape), datatype)), None, SIGNATURE).rows


def _by_bytes(rows: NDArray[Any], datatype: str) -> Any:
    return read_request(*binary_body(rows, datatype), SIGNATURE).rows


def _by_grpc(rows: NDArray[Any], datatype: str) -> Any:
    return grpc_codec.rows_of(grpc_request(rows, datatype, raw=False), SIGNATURE)


def _by_raw_grpc(rows: NDArray[Any], datatype: str) -> Any:
    return grpc_codec.rows_of(grpc_request(rows, datatype, raw=True), SIGNATURE)


@pytest.mark.parametrize("way", [_by_flat_json, _by_nested_json, _by_bytes, _by_grpc, _by_raw_grpc])
@pytest.mark.parametrize("datatype", list(FIELDS))
@settings(max_examples=30)
@given(data=st.data())
def test_every_way_gives_the_rows_and_their_scores(
    datatype: str, way: Callable[[NDArray[Any], str], Any], data: st.DataObject
) -> None:
    rows = data.draw(batches(datatype))
    expected = SCORER.score(rows.astype(np.float64))
    taken = way(rows, datatype)
    assert taken.shape == rows.shape
    assert np.array_equal(SCORER.score(taken), expected)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_the_short_way_of_one_record_gives_the_same_bits_and_bytes(values: list[float]) -> None:
    content = body(tensor(values, [1, 3]), id="7")
    taken = lone_record(content)
    assert taken is not None
    decision = SCORER.score_record(taken[0])
    rows = np.array([values])
    assert decision == SCORER.score(rows)[0]
    long = infer_answer("default", "20240115100000", "7", AS_LISTS, SCORER.score(rows)).body
    assert lone_answer("default", "20240115100000", "7", decision) == long
    by_grpc = grpc_codec.lone_record(grpc_request(rows, "FP64", raw=False))
    assert by_grpc is not None
    assert SCORER.score_record(list(by_grpc)) == decision


@given(st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=200), st.sampled_from(["default", "m" * 200]))
def test_the_short_answer_over_grpc_has_the_bytes_of_the_long_one(decision: float, given_id: str, model: str) -> None:
    long = grpc_codec.response(model, "20240115100000", given_id, AS_LISTS, np.array([decision]))
    assert grpc_codec.lone_response(model, "20240115100000", given_id, decision) == long


def test_a_binary_tensor_that_lies_well_is_scored_where_it_lies() -> None:
    for padding in range(8):
        content, size = binary_body(np.arange(6.0).reshape(2, 3), id="x" * padding)
        if (np.frombuffer(content, np.uint8).ctypes.data + size) % 8 == 0:
            taken = read_request(content, size, SIGNATURE).rows
            assert np.shares_memory(taken, np.frombuffer(content, np.uint8))
            return
    raise AssertionError("one of eight paddings aligns it")


@given(batches("FP64").filter(len))
def test_every_answer_carries_the_same_scores(rows: NDArray[Any]) -> None:
    decision = SCORER.score(rows)
    as_json = json.loads(infer_answer("default", "1", None, AS_LISTS, decision).body)
    assert as_json["outputs"][0]["data"] == decision.tolist()
    as_bytes = infer_answer("default", "1", None, AS_BYTES, decision).body
    assert as_bytes.endswith(decision.tobytes() + (decision < 0).tobytes())
    listed = pb.ModelInferResponse.FromString(grpc_codec.response("default", "1", "", AS_LISTS, decision))
    assert list(listed.outputs[0].contents.fp64_contents) == decision.tolist()
    assert list(listed.outputs[1].contents.bool_contents) == (decision < 0).tolist()
    raw = pb.ModelInferResponse.FromString(grpc_codec.response("default", "1", "", AS_BYTES, decision))
    assert list(raw.raw_output_contents) == [decision.tobytes(), (decision < 0).tobytes()]
    assert not raw.outputs[0].HasField("contents")


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_a_message_or_refused(content: bytes) -> None:
    _taken_or_refused(content)


@given(
    st.lists(st.floats(), max_size=7),
    st.lists(st.integers(-3, 5) | st.integers(-(2**63), 2**63 - 1), max_size=3),
    st.sampled_from([*NUMPY, "BYTES", "BOOL", "", "x"]),
    st.sampled_from(sorted(set(FIELDS.values()) & {"fp64_contents", "fp32_contents"})),
    st.lists(st.binary(max_size=30), max_size=2),
    st.integers(0, 2),
)
def test_messages_of_any_kind_are_taken_or_refused(
    values: list[float], shape: list[int], datatype: str, field: str, raw: list[bytes], n_tensors: int
) -> None:
    head = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape)
    getattr(head.contents, field).extend(values)
    request = pb.ModelInferRequest(model_name="default", inputs=[head] * n_tensors, raw_input_contents=raw)
    _taken_or_refused(request.SerializeToString())


def _taken_or_refused(content: bytes) -> None:
    try:
        request = grpc_codec.decoded(pb.ModelInferRequest, content)
        grpc_codec.lone_record(request)
        rows = grpc_codec.rows_of(request, SIGNATURE)
        grpc_codec.outputs_of(request)
    except BadInferRequest:
        return
    assert rows.shape[1] == 3
    assert np.isfinite(rows.astype(np.float32)).all()
