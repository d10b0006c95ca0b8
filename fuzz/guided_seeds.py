"""Inputs that are taken, for :mod:`fuzz.guided_inputs`: a search that begins with nothing finds little."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from contract.forest_file import encode_forest
from fuzz.guided_inputs import FEATURES, FOREST, INPUTS, drawn_bytes
from fuzz.subject import random_forest

__all__ = ["INPUTS", "seeds"]  # what a search needs

_NAMED = dict.fromkeys(FEATURES, 1.5)
_HS256 = b"eyJhbGciOiJIUzI1NiJ9"
_CLAIMS = {"sub": "s", "exp": 2e9, "aud": ["a"], "iss": "i", "scope": "telemetry:score"}


def seeds(name: str) -> list[bytes]:
    """Return inputs that are taken, to begin with."""
    makers: dict[str, Callable[[], list[bytes]]] = {
        "v2-request": _v2_seeds,
        "forest-file": _forest_seeds,
        "score-request": _score_seeds,
        "v1-request": lambda: [b'{"instances": [[1, 2, 3, 4.5]]}', _json({"instances": [_NAMED, _NAMED]})],
        "token": lambda: [_HS256 + b".e30.AA\n" + _json(_CLAIMS)],
    }
    return makers[name]()


def _v2_seeds() -> list[bytes]:
    tensor = {"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4]}
    nested = {"name": "x", "datatype": "INT32", "shape": [2, 4], "data": [[1, 2, 3, 4], [5, 6, 7, 8]]}
    outputs = [{"name": "is_anomaly", "parameters": {"binary_data": True}}]
    documents = [
        {"inputs": [tensor]},
        {"id": "i", "inputs": [nested], "outputs": outputs},
        {"inputs": [tensor], "parameters": {"binary_data_output": True}},
    ]
    listed = [b"\0\0" + _json(document) for document in documents]
    return listed + [_binary_seed(datatype, dtype) for datatype, dtype in (("FP64", "<f8"), ("FP16", "<f2"))]


def _binary_seed(datatype: str, dtype: str) -> bytes:
    content = np.arange(8).astype(dtype).tobytes()
    size = {"binary_data_size": len(content)}
    head = _json({"inputs": [{"name": "x", "datatype": datatype, "shape": [2, 4], "parameters": size}]})
    wanted, wrap = len(head), len(head) + len(content) + 2
    mark = next(mark for mark in range(wanted, 1 << 16, wrap) if mark % 3)
    return mark.to_bytes(2, "little") + head + content


def _forest_seeds() -> list[bytes]:
    small = random_forest(np.random.default_rng(1), FEATURES[:2], trees=2, inner=3)
    return [b"\1" + encode_forest(small), b"\0" + drawn_bytes(small), b"\0" + drawn_bytes(FOREST)]


def _score_seeds() -> list[bytes]:
    record = {"vehicle_id": "a", "timestamp": "2024-01-15T10:00:00Z"}
    vector, named = record | {"feature_vector": [1, 2, 3, 4]}, record | {"features": _NAMED, "model": "default"}
    lines = b"l" + _json(vector) + b"\n" + _json(named) + b"\n"
    ingest = b"i" + _json({"records": [vector, vector | {"vehicle_id": "b"}], "model": "m"})
    vectors: list[list[float]] = [[1, 2, 3, 4], [5, 6, 7, 8]]
    columns: list[dict[str, Any]] = [
        {"feature_vector": pa.array(vectors, pa.list_(pa.float64()))},
        {"feature_vector": pa.array(vectors, pa.list_(pa.int16(), 4))},
        {
            "vehicle_id": pa.array(["a", "b"], pa.string_view()),
            **dict.fromkeys(FEATURES, pa.array([1, 2], pa.float32())),
        },
        {"model": pa.array(["default"] * 2).dictionary_encode(), **dict.fromkeys(FEATURES, (1, 2))},
    ]
    streams = [b"a" + _arrow_seed(**some) for some in columns]
    return [b"j" + _json(vector), b"j" + _json([named, vector]), lines, ingest, *streams]


def _arrow_seed(**columns: Any) -> bytes:
    stamps = pa.array([1_705_312_800_000_000] * 2, pa.timestamp("us", tz="UTC"))
    table = pa.table({"vehicle_id": ["a", "b"], "timestamp": stamps} | columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _json(document: object) -> bytes:
    return json.dumps(document).encode()
