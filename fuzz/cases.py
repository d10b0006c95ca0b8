"""Valid scoring requests over HTTP, in every form that the server takes, with the scores that they must get."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuzz.rows import rows
from fuzz.subject import Served, Subject

Form = Literal["score", "score-array", "score-ndjson", "score-arrow", "v2-json", "v2-binary", "v1"]
Headers = Sequence[tuple[str, str]]
HEADER_LENGTH = "Inference-Header-Content-Length"
_JSON = "application/json"
_TYPES = {
    "score": _JSON,
    "score-array": _JSON,
    "score-ndjson": "application/x-ndjson",
    "score-arrow": "application/vnd.apache.arrow.stream",
    "v2-json": _JSON,
    "v2-binary": "application/octet-stream",
    "v1": _JSON,
}
_STAMP = "2024-01-15T10:00:00Z"
_FLOATS = {"FP64": "<f8", "FP32": "<f4"}
_WHOLE = {"INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8"}
_OUTPUTS = ("anomaly_score", "is_anomaly")


@dataclass(frozen=True)
class Case:
    """A request, and what it must get.

    Args:
        form: which form it has, or had before it was damaged.
        path: where it goes.
        headers: but for Content-Length and the token.
        document: what its JSON says, where it has JSON; NDJSON: a list of the lines' documents.
        tail: bytes behind the JSON, or the whole body where there is none.
        expected: the decision functions that a valid request must get, in order; None for a damaged one.
        version: the version that answers.
        outputs: the names of V2's outputs, in order.
        request_id: V2's own id, which is echoed.

    """

    form: Form
    path: str
    headers: Headers
    document: Any
    tail: bytes
    expected: NDArray[np.float64] | None
    version: str
    outputs: Sequence[str] = _OUTPUTS
    request_id: str | None = None

    @property
    def body(self) -> bytes:
        """The body as bytes."""
        if self.document is None:
            return self.tail
        if self.form == "score-ndjson":
            return b"".join(json.dumps(line).encode() + b"\n" for line in self.document)
        return json.dumps(self.document).encode() + self.tail


@st.composite
def cases(draw: st.DrawFn, subject: Subject) -> Case:
    """Draw a valid request."""
    form: Form = draw(st.sampled_from(tuple(_TYPES)))
    served = draw(st.sampled_from(subject.versions))
    X = draw(rows(served.forest))
    if form == "score":
        X = X[:1]
    if form.startswith("score"):
        return draw(_score_cases(form, served, subject, X))
    if form == "v1":
        return draw(_v1_cases(subject.default, X if served.model == subject.default.model else None))
    return draw(_v2_cases(form, served, subject, X))


@st.composite
def _score_cases(draw: st.DrawFn, form: Form, served: Served, subject: Subject, X: NDArray[np.float64]) -> Case:
    by_name = draw(st.booleans())
    named = _names_of(served, subject, explicit=draw(st.booleans()))
    headers = [("Content-Type", _TYPES[form])]
    expected = served.scorer.score(X)
    if form == "score-arrow":
        return Case(form, "/score", headers, None, _arrow(served, X, named, by_name=by_name), expected, served.version)
    records = [_record(row, served, named, place, by_name=by_name) for place, row in enumerate(X.tolist())]
    document = records[0] if form == "score" else records
    return Case(form, "/score", headers, document, b"", expected, served.version)


@st.composite
def _v1_cases(draw: st.DrawFn, served: Served, X: NDArray[np.float64] | None) -> Case:
    if X is None:
        X = draw(rows(served.forest))
    names = served.forest.feature_names
    instances: list[Any] = X.tolist()
    if draw(st.booleans()):
        instances = [dict(zip(names, row, strict=True)) for row in instances]
    path, headers = f"/v1/models/{served.model}:predict", [("Content-Type", _JSON)]
    return Case("v1", path, headers, {"instances": instances}, b"", served.scorer.score(X), served.version)


@st.composite
def _v2_cases(draw: st.DrawFn, form: Form, served: Served, subject: Subject, X: NDArray[np.float64]) -> Case:
    is_whole = bool((np.trunc(X) == X).all() and (np.abs(X) < 100).all())
    datatype = draw(st.sampled_from([*_FLOATS, *_WHOLE] if is_whole else list(_FLOATS)))
    tensor: dict[str, Any] = {"name": draw(st.sampled_from(["features", "", "x y"])), "datatype": datatype}
    tensor["shape"] = draw(st.sampled_from([list(X.shape), [-1, X.shape[1]], [X.shape[0], -1]]))
    request_id = draw(st.none() | st.text(max_size=5))
    outputs = draw(st.permutations(_OUTPUTS).map(lambda names: names[:1]) | st.none())
    binary_out = draw(st.booleans())
    document: dict[str, Any] = {"inputs": [tensor], "parameters": {"binary_data_output": binary_out}}
    if request_id is not None:
        document["id"] = request_id
    if outputs is not None:
        document["outputs"] = [{"name": name} for name in outputs]
    tail, headers = b"", [("Content-Type", _TYPES[form])]
    if form == "v2-binary":
        tail = X.astype((_FLOATS | _WHOLE)[datatype]).tobytes()
        tensor["parameters"] = {"binary_data_size": len(tail)}
        headers.append((HEADER_LENGTH, str(len(json.dumps(document)))))
    else:
        tensor["data"] = X.tolist() if draw(st.booleans()) else X.ravel().tolist()
    path = _v2_path(served, subject, explicit=draw(st.booleans()))
    expected = served.scorer.score(X)
    return Case(form, path, headers, document, tail, expected, served.version, outputs or _OUTPUTS, request_id)


def _v2_path(served: Served, subject: Subject, *, explicit: bool) -> str:
    if served is subject.default and not explicit:
        return f"/v2/models/{served.model}/infer"
    return f"/v2/models/{served.model}/versions/{served.version}/infer"


def _names_of(served: Served, subject: Subject, *, explicit: bool) -> dict[str, str]:
    """Return what a record has to name for this version to answer it."""
    if served is subject.default and not explicit:
        return {}
    return {"model": served.model, "model_version": served.version}


def _record(row: list[float], served: Served, named: dict[str, str], place: int, *, by_name: bool) -> dict[str, Any]:
    record: dict[str, Any] = {"vehicle_id": f"VH-{place}", "timestamp": _STAMP, **named}
    if by_name:
        return record | {"features": dict(zip(served.forest.feature_names, row, strict=True))}
    return record | {"feature_vector": row}


def _arrow(served: Served, X: NDArray[np.float64], named: dict[str, str], *, by_name: bool) -> bytes:
    n = len(X)
    columns: dict[str, Any] = {
        "vehicle_id": [f"VH-{place}" for place in range(n)],
        "timestamp": pa.array([1_705_312_800_000_000] * n, pa.timestamp("us", tz="UTC")),
        **{name: [value] * n for name, value in named.items()},
    }
    if by_name:
        columns |= {name: X[:, place] for place, name in enumerate(served.forest.feature_names)}
    else:
        columns["feature_vector"] = pa.array(X.tolist(), pa.list_(pa.float64()))
    table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
