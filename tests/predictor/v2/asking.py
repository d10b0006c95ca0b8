"""Bodies of the protocol, as a client that writes its own bytes makes them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.v2.tensors import Signature

SIGNATURE = Signature("default", ("speed", "rpm", "temperature"), 1000)
HEADER = "Inference-Header-Content-Length"
NUMPY = {
    "FP64": "<f8",
    "FP32": "<f4",
    "FP16": "<f2",
    "INT64": "<i8",
    "INT32": "<i4",
    "INT16": "<i2",
    "INT8": "i1",
    "UINT64": "<u8",
    "UINT32": "<u4",
    "UINT16": "<u2",
    "UINT8": "u1",
}


def tensor(data: Any, shape: list[int], datatype: str = "FP64", **more: Any) -> dict[str, Any]:
    """An input tensor as JSON has it."""
    return {"name": "features", "shape": shape, "datatype": datatype, "data": data, **more}


def body(*tensors: dict[str, Any], **more: Any) -> bytes:
    """A request in JSON."""
    return json.dumps({"inputs": list(tensors), **more}).encode()


def binary_body(rows: NDArray[Any], datatype: str = "FP64", **more: Any) -> tuple[bytes, int]:
    """A request with its tensor as bytes, and how much of it is JSON."""
    content = rows.astype(NUMPY[datatype]).tobytes()
    head = {
        "name": "features",
        "shape": list(rows.shape),
        "datatype": datatype,
        "parameters": {"binary_data_size": len(content)},
    }
    text = json.dumps({"inputs": [head], **more}).encode()
    return text + content, len(text)


def normal_rows(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Random rows of three features."""
    return np.random.default_rng(seed).normal(size=(n, 3))
