"""Messages with more fields than a request needs are refused before protobuf makes objects of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from predictor.v2 import kserve_sdk
from predictor.v2.errors import BadInferRequest

kserve_sdk.prepare()

from google.protobuf.message import DecodeError  # noqa: E402 - after it is made ready
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb  # noqa: E402 - the same

from predictor.v2.grpc_bounds import MOST_FIELDS, check_fields  # noqa: E402 - the same

Tensor = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor
REFUSAL = re.escape(f"more than {MOST_FIELDS} fields")


def _encoded(**fields: object) -> bytes:
    encoded: bytes = pb.ModelInferRequest(**fields).SerializeToString()
    return encoded


def _many_parameters(place: str) -> bytes:
    request = pb.ModelInferRequest(inputs=[Tensor()], outputs=[Output()])
    holder = {"request": request, "input": request.inputs[0], "output": request.outputs[0]}[place]
    for number in range(MOST_FIELDS + 1):
        holder.parameters[str(number)].bool_param = True
    encoded: bytes = request.SerializeToString()
    return encoded


@pytest.mark.parametrize(
    "message",
    [
        _encoded(inputs=[Tensor()] * (MOST_FIELDS + 1)),
        _encoded(outputs=[Output()] * (MOST_FIELDS + 1)),
        _encoded(raw_input_contents=[b""] * (MOST_FIELDS + 1)),
        _encoded(inputs=[Tensor(contents=pb.InferTensorContents(bytes_contents=[b""] * (MOST_FIELDS + 1)))]),
        _encoded(inputs=[Tensor(shape=[1] * (MOST_FIELDS + 1))]),
        _encoded(inputs=[Tensor(name="x", shape=[1, 3])] * (MOST_FIELDS // 2)),
        _many_parameters("request"),
        _many_parameters("input"),
        _many_parameters("output"),
        # Lists of numbers that are not packed, and a field that there is not, again and again.
        b"\x2a\x80\xf1\x04" + b"\x18\x01" * 40_000,
        b"\x98\x06\x01" * (MOST_FIELDS + 1),
        b"\x9b\x06\x9c\x06" * MOST_FIELDS,
    ],
)
def test_many_fields_are_refused_wherever_they_are(message: bytes) -> None:
    pb.ModelInferRequest.FromString(message)  # it is a message, and would be taken
    with pytest.raises(BadInferRequest, match=REFUSAL):
        check_fields(message)


@pytest.mark.parametrize("n", [1, 1_000_000])
def test_the_size_of_a_batch_does_not_matter(n: int) -> None:
    listed = Tensor(name="x", datatype="FP64", shape=[n, 1], contents=pb.InferTensorContents(fp64_contents=[1.5] * n))
    integers = Tensor(datatype="INT64", shape=[n, 1], contents=pb.InferTensorContents(int64_contents=[-1] * n))
    check_fields(_encoded(model_name="default", inputs=[listed, integers]))
    check_fields(_encoded(inputs=[Tensor(shape=[n, 1])], raw_input_contents=[bytes(8 * n)]))


@given(st.binary(max_size=400))
@example(b"\x2a\xff\xff\xff\xff\x0f\x00")
@example(b"\x2a\x05\x2a\x80")
@example(b"\xff" * 50)
@example(b"\x06\x07")
def test_what_is_small_is_left_to_protobuf_whether_it_is_a_message_or_not(message: bytes) -> None:
    check_fields(message)


@pytest.mark.parametrize("before", [b"", b"\x08", b"\x2a"])
def test_a_number_without_end_is_left_to_protobuf_without_being_read(before: bytes) -> None:
    check_fields(before + b"\xff" * (1 << 22))


@given(st.binary(max_size=30), st.sampled_from([b"\x2a\x00", b"\x32\x00", b"\x3a\x00", b"\x2a\x02\x2a\x00"]))
def test_nothing_put_before_them_hides_many_fields(before: bytes, field: bytes) -> None:
    message = before + field * (MOST_FIELDS + 1)
    try:
        pb.ModelInferRequest.FromString(message)
    except DecodeError:
        return
    request = pb.ModelInferRequest.FromString(message)
    if len(request.inputs) + len(request.outputs) + len(request.raw_input_contents) > MOST_FIELDS:
        with pytest.raises(BadInferRequest, match=REFUSAL):
            check_fields(message)
