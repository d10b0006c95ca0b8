"""An infer request over HTTP, its bytes in and its rows out: JSON, or JSON with binary tensors behind it. PURE.

The common request, numbers in one flat list, is decoded in one pass with its types. What that pass refuses is read once
more: nested lists, then anything with a tensor left unparsed, and only there does a sentence about a fault arise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from contract.errors import shown
from predictor.v2.complaints import REFUSALS, malformed, misplaced
from predictor.v2.errors import BadInferRequest
from predictor.v2.json_bounds import LARGE_BYTES, check_lists, check_values
from predictor.v2.large_json import flat_request
from predictor.v2.outputs import AS_BYTES, AS_LISTS, Outputs, choose
from predictor.v2.request_headers import HEADER_LENGTH
from predictor.v2.tensors import (
    Rows,
    Signature,
    TensorHead,
    listed_dtype,
    rows_in,
    rows_of_bytes,
    rows_of_lists,
    rows_of_values,
)

Parameters = dict[str, Any]


class RequestedOutput(msgspec.Struct, gc=False):
    """An output that is asked for."""

    name: str
    parameters: Parameters | None = None


class _Tensor(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: Parameters | None = None


class _FlatTensor(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]
    parameters: Parameters | None = None


class _NestedTensor(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: list[list[float]]
    parameters: Parameters | None = None


class _Request(msgspec.Struct, gc=False):
    inputs: list[_Tensor]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


class _FlatRequest(msgspec.Struct, gc=False):
    inputs: list[_FlatTensor]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


class _NestedRequest(msgspec.Struct, gc=False):
    inputs: list[_NestedTensor]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


class _ArrayTensor(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: NDArray[np.float64]
    parameters: Parameters | None = None


class _ArrayRequest(msgspec.Struct, gc=False):
    inputs: list[_ArrayTensor]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


_AnyTensor = _Tensor | _FlatTensor | _NestedTensor | _ArrayTensor
_AnyRequest = _Request | _FlatRequest | _NestedRequest | _ArrayRequest

_decode_flat = msgspec.json.Decoder(_FlatRequest).decode
_decode_nested = msgspec.json.Decoder(_NestedRequest).decode
_decode_any = msgspec.json.Decoder(_Request).decode
_values = msgspec.json.Decoder(list[float]).decode
_lists = msgspec.json.Decoder(list[list[float]]).decode


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a request asks: rows of shape ``(n, n_features)``, its id where it has one, and the outputs it wants."""

    rows: Rows
    id: str | None
    outputs: Outputs


def lone_record(body: bytes) -> tuple[list[float], str | None] | None:
    """Return the values and the id of a request in its commonest form: one row of FP64, nothing else asked.

    None for any other; the number of values and what they are is still to be checked.
    """
    try:
        request = _decode_nested(body) if b"[[" in body else _decode_flat(body)
    except REFUSALS:
        return None
    if len(request.inputs) != 1 or request.outputs or request.parameters:
        return None
    tensor = request.inputs[0]
    if isinstance(tensor, _FlatTensor):
        values = tensor.data
    elif len(tensor.data) == 1:
        values = tensor.data[0]
    else:
        return None
    if tensor.datatype != "FP64" or tensor.parameters or tensor.shape != [1, len(values)]:
        return None
    return values, request.id


def read_request(body: bytes, json_size: int | None, signature: Signature) -> InferRequest:
    """Return what a request asks.

    Args:
        body: the whole body.
        json_size: how many bytes of it are JSON, if binary tensors may follow.
        signature: of the model that is asked.

    Raises:
        BadInferRequest: it cannot be taken; the sentence says where, what came and what is expected.

    """
    if json_size is None or json_size == len(body):
        request, content = _decoded(body, signature), (None if json_size is None else memoryview(b""))
    else:
        if json_size > len(body):
            raise BadInferRequest(
                f"{HEADER_LENGTH} is {json_size}, and the body has {len(body)} bytes: it is the length of the JSON that"
                " the body begins with"
            )
        head = body[:json_size]
        check_values(head, signature)
        check_lists(head, signature)
        request, content = _decoded_any(head), memoryview(body)[json_size:]
    if len(request.inputs) != 1:
        raise BadInferRequest(f"inputs has {len(request.inputs)} tensors; a model takes one, with all features")
    return InferRequest(_rows(request.inputs[0], content, signature), request.id, _outputs(request))


def _decoded(body: bytes, signature: Signature) -> _AnyRequest:
    check_values(body, signature)
    if len(body) > LARGE_BYTES and (request := _decoded_large(body)) is not None:
        return request
    check_lists(body, signature)
    for decode in (_decode_flat, _decode_nested):
        try:
            return decode(body)
        except REFUSALS:
            continue  # the next one takes more, and the last one says what is wrong
    return _decoded_any(body)


def _decoded_large(body: bytes) -> _ArrayRequest | None:
    parts = flat_request(body)
    if parts is None:
        return None
    document, values = parts
    try:
        request = msgspec.convert(document, _Request)
    except msgspec.ValidationError:
        return None
    head = request.inputs[0]
    tensor = _ArrayTensor(head.name, head.shape, head.datatype, values, head.parameters)
    return _ArrayRequest([tensor], request.id, request.parameters, request.outputs)


def _decoded_any(body: bytes) -> _Request:
    try:
        return _decode_any(body)
    except REFUSALS as fault:
        raise BadInferRequest(malformed(fault, body)) from fault


def _rows(tensor: _AnyTensor, content: memoryview | None, signature: Signature) -> Rows:
    head = TensorHead("inputs[0]", tensor.datatype, tensor.shape)
    parameters = tensor.parameters or {}
    if "binary_data_size" in parameters:
        return _binary_rows(head, tensor, parameters["binary_data_size"], content, signature)
    if content:
        raise BadInferRequest(
            f"{len(content)} bytes follow the JSON, and inputs[0].parameters has no binary_data_size that would say"
            " whose they are"
        )
    if isinstance(tensor, _FlatTensor | _ArrayTensor):
        return rows_of_values(head, tensor.data, signature)
    if isinstance(tensor, _NestedTensor):
        return rows_of_lists(head, tensor.data, signature)
    return _unparsed_rows(head, bytes(tensor.data), signature)


def _binary_rows(
    head: TensorHead, tensor: _AnyTensor, size: object, content: memoryview | None, signature: Signature
) -> Rows:
    if not isinstance(tensor, _Tensor) or bytes(tensor.data):
        raise BadInferRequest("inputs[0] has both data and the parameter binary_data_size: leave one out")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise BadInferRequest(f"inputs[0].parameters.binary_data_size is {shown(size)}; it is a number of bytes")
    if content is None:
        raise BadInferRequest(
            f"inputs[0].parameters has binary_data_size, and the request no header {HEADER_LENGTH}, which says"
            " where the binary data begins"
        )
    if size != len(content):
        raise BadInferRequest(
            f"inputs[0].parameters.binary_data_size is {size}, and {len(content)} bytes follow the JSON"
        )
    return rows_of_bytes(head, content, signature)


def _unparsed_rows(head: TensorHead, data: bytes, signature: Signature) -> Rows:
    """Return the rows of a tensor whose data is neither binary nor a list of numbers that decoded with its request."""
    if not data:
        raise BadInferRequest(
            "inputs[0] has no data: send a list of numbers, or binary_data_size and the bytes behind the JSON (shared"
            " memory is not supported)"
        )
    listed_dtype(head)
    rows_in(head, None, signature)
    try:
        if _is_nested(data):
            return rows_of_lists(head, _lists(data), signature)
        return rows_of_values(head, _values(data), signature)
    except msgspec.ValidationError as fault:
        raise BadInferRequest(misplaced(fault, "inputs[0].data")) from fault


def _is_nested(data: bytes) -> bool:
    return re.match(rb"\s*\[\s*\[", data) is not None


def _outputs(request: _AnyRequest) -> Outputs:
    by_default = _binary(request.parameters, "binary_data_output", "parameters", default=False)
    if not request.outputs:
        return AS_BYTES if by_default else AS_LISTS
    return choose(
        [
            (output.name, _binary(output.parameters, "binary_data", f"outputs[{place}].parameters", default=by_default))
            for place, output in enumerate(request.outputs)
        ]
    )


def _binary(parameters: Parameters | None, name: str, place: str, *, default: bool) -> bool:
    value = (parameters or {}).get(name, default)
    if not isinstance(value, bool):
        raise BadInferRequest(f"{place}.{name} is {shown(value)}; it is true or false")
    return value
