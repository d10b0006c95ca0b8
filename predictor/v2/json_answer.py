"""The answer to an infer request over HTTP: JSON, with binary tensors behind it where they are asked for. PURE."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from predictor.problems import Answer
from predictor.v2.outputs import Output, Outputs
from predictor.v2.request_headers import HEADER_LENGTH

_BINARY_TYPE = "application/octet-stream"


class OutputTensor(msgspec.Struct, omit_defaults=True, gc=False):
    """An output tensor as JSON has it; binary ones have their size instead of ``data``."""

    name: str
    datatype: str
    shape: list[int]
    data: Any = None
    parameters: dict[str, int] | None = None


class InferResponse(msgspec.Struct, omit_defaults=True, gc=False):
    """The answer's JSON."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | None = None


_encode = msgspec.json.Encoder().encode
_LONE = b'"outputs":[{"name":"anomaly_score","datatype":"FP64","shape":[1],"data":['
_LONE_FLAG = b']},{"name":"is_anomaly","datatype":"BOOL","shape":[1],"data":['


def lone_answer(model: str, version: str, request_id: str | None, decision: float) -> bytes:
    """Return the answer for one row, both outputs as lists: the bytes that :func:`infer_answer` gives, sooner.

    ``model`` and ``version`` are names that need no escaping.
    """
    return b'{"model_name":"%b","model_version":"%b",%b%b%b%b]}]%b}' % (
        model.encode(),
        version.encode(),
        _LONE,
        _encode(decision),
        _LONE_FLAG,
        b"true" if decision < 0 else b"false",
        b"" if request_id is None else b',"id":' + _encode(request_id),
    )


def infer_answer(
    model: str, version: str, request_id: str | None, outputs: Outputs, decision: NDArray[np.float64]
) -> Answer:
    """Return the whole response for rows with these decision functions, shape ``(n,)``."""
    contents = [output.content(decision) if output.binary else None for output in outputs]
    tensors = [_tensor(output, content, decision) for output, content in zip(outputs, contents, strict=True)]
    head = _encode(InferResponse(model, version, tensors, request_id))
    binary = [content for content in contents if content is not None]
    if not binary:
        return Answer(200, head)
    return Answer(200, b"".join((head, *binary)), {HEADER_LENGTH: str(len(head))}, _BINARY_TYPE)


def _tensor(output: Output, content: bytes | None, decision: NDArray[np.float64]) -> OutputTensor:
    shape = [len(decision)]
    if content is not None:
        return OutputTensor(output.name, output.datatype, shape, parameters={"binary_data_size": len(content)})
    # The numbers read the same as msgspec's, and need no list.
    data = msgspec.Raw(orjson.dumps(output.values(decision), option=orjson.OPT_SERIALIZE_NUMPY))
    return OutputTensor(output.name, output.datatype, shape, data)
