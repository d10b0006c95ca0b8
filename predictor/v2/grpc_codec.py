"""An infer request over gRPC, as KServe's generated messages have it, as rows and back. PURE.

Values come in the typed field of their datatype, or as bytes in ``raw_input_contents``; outputs go back the way in
which the inputs came. Call :func:`predictor.v2.kserve_sdk.prepare` before this is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from struct import Struct
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from numpy.typing import NDArray

from predictor.v2.errors import BadInferRequest
from predictor.v2.outputs import AS_BYTES, AS_LISTS, Output, Outputs, choose
from predictor.v2.tensors import Rows, Signature, TensorHead, listed_dtype, rows_of_bytes, rows_of_values

_FIELDS = {
    "FP64": "fp64_contents",
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
    "INT16": "int_contents",
    "INT8": "int_contents",
    "UINT64": "uint64_contents",
    "UINT32": "uint_contents",
    "UINT16": "uint_contents",
    "UINT8": "uint_contents",
}
_DOUBLE = Struct("<d")
_OUTPUT_FIELDS = {"FP64": "fp64_contents", "BOOL": "bool_contents"}


def decoded(kind: Any, message: bytes) -> Any:
    """Return a message of the generated class ``kind``.

    Raises:
        BadInferRequest: the bytes are none.

    """
    try:
        return kind.FromString(message)
    except DecodeError as fault:
        raise BadInferRequest(f"the message is no {kind.DESCRIPTOR.name}: {fault}") from fault


def lone_record(request: Any) -> Sequence[float] | None:
    """Return the values of a request in its commonest form: one row of FP64 in a list, all outputs; None for others.

    The number of values and what they are is still to be checked.
    """
    if len(request.inputs) != 1 or request.raw_input_contents or request.outputs:
        return None
    tensor = request.inputs[0]
    if len(tensor.contents.ListFields()) != 1:
        return None
    values = list(tensor.contents.fp64_contents)
    if tensor.datatype != "FP64" or tensor.shape != [1, len(values)]:
        return None
    return values


def rows_of(request: Any, signature: Signature) -> Rows:
    """Return the rows of a ``ModelInferRequest``, shape ``(n, n_features)``.

    Raises:
        BadInferRequest: they cannot be taken.

    """
    if len(request.inputs) != 1:
        raise BadInferRequest(f"inputs has {len(request.inputs)} tensors; a model takes one, with all features")
    tensor = request.inputs[0]
    head = TensorHead("inputs[0]", tensor.datatype, list(tensor.shape))
    raw = request.raw_input_contents
    if not raw:
        return rows_of_values(head, _listed(head, tensor.contents), signature)
    if len(raw) != 1:
        raise BadInferRequest(f"raw_input_contents has {len(raw)} entries, and inputs 1 tensor")
    if tensor.HasField("contents"):
        raise BadInferRequest("inputs[0] has contents, and there is a raw_input_contents: leave one out")
    return rows_of_bytes(head, raw[0], signature)


def outputs_of(request: Any) -> Outputs:
    """Return the outputs that a ``ModelInferRequest`` asks for: as bytes if its input came so; BadInferRequest."""
    raw = bool(request.raw_input_contents)
    if not request.outputs:
        return AS_BYTES if raw else AS_LISTS
    return choose([(output.name, raw) for output in request.outputs])


def response(model: str, version: str, request_id: str, outputs: Outputs, decision: NDArray[np.float64]) -> bytes:
    """Return the encoded ``ModelInferResponse`` for rows with these decision functions, shape ``(n,)``."""
    answer = pb.ModelInferResponse(
        model_name=model,
        model_version=version,
        id=request_id,
        outputs=[_tensor(output, decision) for output in outputs],
        raw_output_contents=[output.content(decision) for output in outputs if output.binary],
    )
    encoded: bytes = answer.SerializeToString()
    return encoded


def lone_response(model: str, version: str, request_id: str, decision: float) -> bytes:
    """Return the answer for one row, both outputs as lists: the bytes that :func:`response` gives, sooner."""
    head: bytes = pb.ModelInferResponse(model_name=model, model_version=version, id=request_id).SerializeToString()
    score, anomalous, normal = _lone_outputs()
    return b"%b%b%b%b" % (head, score, _DOUBLE.pack(decision), anomalous if decision < 0 else normal)


@cache
def _lone_outputs() -> tuple[bytes, bytes, bytes]:
    """Return one row's outputs as they are encoded: the score's up to its value, then either flag's.

    Messages that are put one after the other are one message with the fields of all, and a tensor ends with its values.
    """

    def encoded(output: Output, decision: float) -> bytes:
        tensor: bytes = pb.ModelInferResponse(outputs=[_tensor(output, np.array([decision]))]).SerializeToString()
        return tensor

    score, flag = AS_LISTS
    return encoded(score, 1.0)[: -_DOUBLE.size], encoded(flag, -1.0), encoded(flag, 1.0)


def _listed(head: TensorHead, contents: Any) -> Sequence[float]:
    listed_dtype(head)
    wanted = _FIELDS[head.datatype]
    others = [field.name for field, _ in contents.ListFields() if field.name != wanted]
    if others:
        raise BadInferRequest(
            f"{head.place} has {' and '.join(others)}, and its datatype {head.datatype} has its values in {wanted}"
        )
    values: Sequence[float] = getattr(contents, wanted)
    return values


def _tensor(output: Output, decision: NDArray[np.float64]) -> Any:
    tensor = pb.ModelInferResponse.InferOutputTensor(name=output.name, datatype=output.datatype, shape=[len(decision)])
    if not output.binary:
        getattr(tensor.contents, _OUTPUT_FIELDS[output.datatype]).extend(output.values(decision).tolist())
    return tensor
