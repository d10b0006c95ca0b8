"""Bodies of scoring requests in every form that the predictor takes. PURE."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa

from soak.kinds import NUMBER, document
from soak.subject import FEATURES

WIDTH = len(FEATURES)
_STAMP = "2024-01-15T10:00:00Z"
_VALUES = [round(0.37 * place - 1, 6) for place in range(WIDTH)]
HEADER_LENGTH = "Inference-Header-Content-Length"


def record(**changes: Any) -> dict[str, Any]:
    """Return a record whose vehicle nobody has seen; a change to None removes a field."""
    whole = {"vehicle_id": f"VH-{NUMBER.decode()}", "timestamp": _STAMP, "feature_vector": _VALUES} | changes
    return {name: value for name, value in whole.items() if value is not None}


def by_name() -> dict[str, Any]:
    """Return a record whose features have names."""
    return record(feature_vector=None, features=dict(zip(FEATURES, _VALUES, strict=True)))


def array(count: int) -> bytes:
    """Return an array of ``count`` records."""
    return document([record(vehicle_id=f"VH-{number}") for number in range(count)])


def lines(count: int) -> bytes:
    """Return ``count`` records as NDJSON."""
    return b"\n".join([document(record(vehicle_id=f"VH-{number}")) for number in range(count)]) + b"\n"


def arrow(count: int) -> bytes:
    """Return ``count`` records as an Arrow stream."""
    stamps = pa.array([1_705_312_800_000_000] * count, pa.timestamp("us", tz="UTC"))
    columns = {"vehicle_id": pa.array([f"VH-{number}" for number in range(count)]), "timestamp": stamps}
    columns |= {name: pa.array([value] * count) for name, value in zip(FEATURES, _VALUES, strict=True)}
    table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def v2(rows: int = 1, **changes: Any) -> bytes:
    """Return a V2 request in JSON."""
    tensor = {"name": "features", "shape": [rows, WIDTH], "datatype": "FP64", "data": _VALUES * rows} | changes
    return document({"id": NUMBER.decode(), "inputs": [tensor]})


def v2_binary(rows: int = 1, *, value: float = 0.5) -> tuple[bytes, dict[str, str]]:
    """Return a V2 request with a binary tensor that asks for a binary answer, and its headers."""
    content = np.full((rows, WIDTH), value, "<f8").tobytes()
    tensor = {
        "name": "features",
        "shape": [rows, WIDTH],
        "datatype": "FP64",
        "parameters": {"binary_data_size": len(content)},
    }
    head = document({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    return head + content, {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}


def v1(rows: int) -> bytes:
    """Return a V1 request."""
    return document({"instances": [_VALUES] * rows})
