"""Large requests are read by another parser: what comes of them is the same."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from predictor.v2 import json_request
from predictor.v2.errors import BadInferRequest
from predictor.v2.json_request import read_request
from predictor.v2.large_json import count, flat_request
from predictor.v2.tensors import Signature

SIGNATURE = Signature("default", ("a", "b"), 1000)
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70), st.booleans(), st.none()
)


def request(data: object, **members: object) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [-1, 2], "datatype": "FP64", "data": data}], **members}


def outcome(body: bytes) -> tuple[object, ...]:
    try:
        asked = read_request(body, None, SIGNATURE)
    except BadInferRequest as refusal:
        return (str(refusal),)
    return (asked.rows.dtype, asked.rows.shape, asked.rows.tobytes(), asked.id, asked.outputs)


def both_ways(body: bytes) -> tuple[tuple[object, ...], tuple[object, ...]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_request, "LARGE_BYTES", 0)
        as_large = outcome(body)
        patch.setattr(json_request, "LARGE_BYTES", 1 << 40)
        return as_large, outcome(body)


BODIES = [
    json.dumps(document).encode()
    for document in (
        request([1, 2.5, -3e-7, 4]),
        request([1, 2], id="a[b", parameters={"binary_data_output": True}),
        request([1, 2], id="a", outputs=[{"name": "is_anomaly", "parameters": {"binary_data": True}}]),
        request([1, 2], outputs=[{"name": "nothing"}]),
        request([1, [2]]),
        request([[1, 2], [3, 4]]),
        request([1, 2, 3]),
        request([]),
        request(["1", "2"]),
        request({"a": 1}),
        request(None),
        request([1, 2], id=7),
        request([3.5e38, 1]),
        {"inputs": []},
        {"inputs": {}},
        {"inputs": [[1, 2]]},
        {"inputs": [request([1])["inputs"][0], request([1])["inputs"][0]]},
        [1, 2],
        7,
    )
] + [
    b"",
    b"[1,2",
    b"\xff{}",
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1,2],"data":[3,4]}]}',
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1,2]}],"id":"a","id":"b"}',
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1,NaN]}]}',
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1,1e999]}]}',
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"INT64","data":[9223372036854775807,18446744073709551616]}]}',
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"INT8","data":[1,2.5]}]}',
]


@pytest.mark.parametrize("body", BODIES)
def test_what_comes_of_a_request_does_not_depend_on_its_size(body: bytes) -> None:
    as_large, as_small = both_ways(body)
    assert as_large == as_small


@example(data=[10**30, 1], wanted=False)
@example(data=[10**400, 1], wanted=False)
@given(data=st.lists(NUMBERS | st.lists(NUMBERS, max_size=3), max_size=8), wanted=st.booleans())
def test_nor_on_what_is_in_it(data: list[object], wanted: bool) -> None:
    outputs = {"outputs": [{"name": "is_anomaly"}]} if wanted else {}
    as_large, as_small = both_ways(json.dumps(request(data, **outputs)).encode())
    assert as_large == as_small


def test_a_flat_list_is_read_into_an_array() -> None:
    parts = flat_request(json.dumps(request([1, 2.5], id="a")).encode())
    assert parts is not None
    document, values = parts
    assert values.tolist() == [1.0, 2.5]
    assert document == {"inputs": [{"name": "x", "shape": [-1, 2], "datatype": "FP64"}], "id": "a"}


def test_threads_do_not_share_a_parser_at_once() -> None:
    rows = np.random.default_rng(0).normal(size=(8, 40_000))
    bodies = [json.dumps(request(row.tolist())).encode() for row in rows]
    got: dict[int, object] = {}

    def read(place: int) -> None:
        parts = flat_request(bodies[place])
        got[place] = parts and parts[1].tolist()

    threads = [threading.Thread(target=read, args=(place,)) for place in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[place] for place in range(len(bodies))] == rows.tolist()


@given(st.binary(max_size=200_000))
def test_characters_are_counted(body: bytes) -> None:
    assert count(body, ",") == body.count(b",")
