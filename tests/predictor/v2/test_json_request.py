"""Requests over HTTP that cannot be taken, and what is said of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from predictor.v2.errors import BadInferRequest
from predictor.v2.json_request import lone_record, read_request
from tests.predictor.v2.asking import NUMPY, SIGNATURE, binary_body, body, normal_rows, tensor

ROW = [2.0, 3.0, 4.0]
JSON_DATATYPES = [datatype for datatype in NUMPY if datatype != "FP16"]


def _refused(content: bytes, json_size: int | None = None) -> str:
    with pytest.raises(BadInferRequest) as refusal:
        read_request(content, json_size, SIGNATURE)
    return str(refusal.value)


@pytest.mark.parametrize("datatype", JSON_DATATYPES)
@pytest.mark.parametrize("nested", [False, True])
def test_every_datatype_of_numbers_is_taken_as_json(datatype: str, nested: bool) -> None:
    rows = [[1, 2, 3], [4, 5, 6]]
    data = rows if nested else [1, 2, 3, 4, 5, 6]
    assert read_request(body(tensor(data, [2, 3], datatype)), None, SIGNATURE).rows.tolist() == rows


@pytest.mark.parametrize("datatype", list(NUMPY))
def test_every_datatype_of_numbers_is_taken_as_bytes(datatype: str) -> None:
    rows = np.array([[1, 2, 3], [4, 5, 6]])
    content, size = binary_body(rows, datatype)
    assert read_request(content, size, SIGNATURE).rows.tolist() == rows.tolist()


def test_bytes_that_do_not_lie_on_a_boundary_are_read_truly() -> None:
    rows = normal_rows(4)
    for padding in range(8):
        content, size = binary_body(rows, id="x" * padding)
        taken = read_request(content, size, SIGNATURE).rows
        assert taken.flags.aligned
        assert np.array_equal(taken, rows)


@pytest.mark.parametrize("shape", [[3], [1, 3], [-1, 3], [1, -1], [-1]])
def test_one_row_may_have_several_shapes(shape: list[int]) -> None:
    assert read_request(body(tensor(ROW, shape)), None, SIGNATURE).rows.tolist() == [ROW]


@pytest.mark.parametrize(
    "shape",
    [
        [],
        [2, 3],
        [1, 4],
        [1, 2],
        [3, 1],
        [1, 1, 3],
        [4],
        [-1, -1],
        [-2, 3],
        [0, 3],
        [1, -3],
        [2**62, 3],
        [2**62, 2**62],
    ],
)
@pytest.mark.parametrize("form", ["flat", "nested", "binary"])
def test_shapes_that_do_not_fit_are_told_what_does(shape: list[int], form: str) -> None:
    if form == "binary":
        content, size = binary_body(np.array([ROW]))
        said = _refused(content.replace(b"[1, 3]", json.dumps(shape).encode()), size + len(json.dumps(shape)) - 6)
    else:
        said = _refused(body(tensor([ROW] if form == "nested" else ROW, shape)))
    assert "inputs[0]" in said
    assert "[rows, 3]" in said or "features a row means" in said or "the limit is 1000" in said


@pytest.mark.parametrize(
    ("data", "shape", "said"),
    [
        ([1, 2], [1, 3], "inputs[0] has 2 values, and its shape [1, 3] with 3 features a row means 3"),
        ([[1, 2, 3], [1, 2]], [2, 3], "inputs[0].data[1] has 2 values; a row of model 'default' has 3: speed, rpm"),
        ([[1, 2, 3, 4]], [1, 3], "inputs[0].data[0] has 4 values"),
        ([1, 2, "3"], [1, 3], "inputs[0].data[2]: expected a number, got a string"),
        ([1, None, 3], [1, 3], "inputs[0].data[1]: expected a number, got null"),
        ([True, 2, 3], [1, 3], "inputs[0].data[0]: expected a number, got true or false"),
        ([[1, 2, {}]], [1, 3], "inputs[0].data[0][2]: expected a number, got an object"),
        ([[[1, 2, 3]]], [1, 3], "inputs[0].data[0][0]: expected a number, got a list"),
        ([1, [2, 3]], [1, 3], "inputs[0].data[1]: expected a number, got a list"),
        ("1,2,3", [1, 3], "inputs[0].data: expected a list, got a string"),
        (None, [1, 3], "inputs[0].data: expected a list, got null"),
        ([1, 2, 1e39], [1, 3], "row 0, feature 2 (temperature) is 1e+39; values must be finite and within float32"),
        ([1, 2, -(10**300)], [1, 3], "row 0, feature 2 (temperature) is -1e+300"),
        ([1, 2, 10**400], [1, 3], "inputs[0].data[2]: number out of range"),
    ],
)
def test_data_that_cannot_be_taken(data: Any, shape: list[int], said: str) -> None:
    assert said in _refused(body(tensor(data, shape)))


@pytest.mark.parametrize(("word", "said"), [("NaN", "NaN"), ("Infinity", "Infinity"), ("-Infinity", "-Infinity")])
@pytest.mark.parametrize("nested", [False, True])
def test_what_is_not_finite_is_named_with_its_place(word: str, said: str, nested: bool) -> None:
    data = f"[[1, 2, 3], [4, {word}, 6]]" if nested else f"[1, 2, 3, 4, {word}, 6]"
    content = f'{{"inputs": [{{"name": "x", "shape": [2, 3], "datatype": "FP64", "data": {data}}}]}}'.encode()
    assert f"inputs[0].data: value 4 is {said} (byte " in _refused(content)


@pytest.mark.parametrize("word", ["1e999", "-1e999"])
def test_a_number_beyond_any_float_is_named_with_its_place(word: str) -> None:
    content = f'{{"inputs": [{{"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [1, {word}, 3]}}]}}'.encode()
    assert "inputs[0].data[1]: number out of range" in _refused(content)


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_in_bytes(datatype: str, value: float) -> None:
    rows = np.ones((3, 3))
    rows[1, 2] = value
    assert f"row 1, feature 2 (temperature) is {value}" in _refused(*binary_body(rows, datatype))


def test_bytes_beyond_float32_are_refused() -> None:
    assert "row 0, feature 0 (speed) is 1e+39" in _refused(*binary_body(np.full((1, 3), 1e39)))


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("INT8", 128), ("UINT8", -1), ("INT32", 1.5), ("UINT16", 65536), ("INT64", 1e19), ("UINT64", -0.5)],
)
def test_integers_must_be_integers_of_their_datatype(datatype: str, value: float) -> None:
    assert f"value 1 is {value:g}; {datatype} holds whole numbers" in _refused(
        body(tensor([0, value, 0], [1, 3], datatype))
    )


@pytest.mark.parametrize("value", [2**53 + 1, 2**63 - 1, -(2**63)])
def test_large_integers_are_taken(value: int) -> None:
    assert read_request(body(tensor([value, 0, 0], [1, 3], "INT64")), None, SIGNATURE).rows[0, 0] == float(value)


@pytest.mark.parametrize(
    ("datatype", "said"),
    [
        ("BYTES", "a model takes numbers: FP64, FP32"),
        ("BOOL", "a model takes numbers: FP64, FP32"),
        ("fp64", "inputs[0].datatype is 'fp64'; a model takes numbers"),
        ("FP16", "FP16, which comes as binary data alone"),
    ],
)
@pytest.mark.parametrize("data", [ROW, [ROW], ["a", "b", "c"]])
def test_datatypes_that_are_no_numbers(datatype: str, said: str, data: list[Any]) -> None:
    assert said in _refused(body(tensor(data, [1, 3], datatype)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the body is not JSON"),
        (b"null", "the request: expected an object, got null"),
        (b"[]", "the request: expected an object, got a list"),
        (b"{}", "the request: object missing required field `inputs`"),
        (b'{"inputs": {}}', "inputs: expected a list, got an object"),
        (b'{"inputs": []}', "inputs has 0 tensors; a model takes one"),
        (b'{"inputs": [{}]}', "inputs[0]: object missing required field `name`"),
        (b'{"inputs": [], "id": 7}', "id: expected"),
        (b'{"inputs": [], "parameters": []}', "parameters: expected"),
        (b'{"inputs": [] x', "the body is not JSON"),
        (b'{"inputs": [], "id": "\xff"}', "a string in it is not UTF-8"),
        (b'{"x": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"parameters": {"a": ' + b'{"a":' * 100_000, "nested too deeply"),
        (
            b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP64", "data": ' + b"[" * 100_000,
            "nested too deeply",
        ),
        (b"\xef\xbb\xbf{}", "the body is not JSON"),
        (b"\x00", "the body is not JSON"),
    ],
)
def test_bodies_that_are_no_requests(content: bytes, said: str) -> None:
    assert said in _refused(content)


def test_two_tensors_are_one_too_many() -> None:
    assert "inputs has 2 tensors; a model takes one" in _refused(body(tensor(ROW, [1, 3]), tensor(ROW, [1, 3])))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"binary_data_size": 23}, "binary_data_size is 23, and 24 bytes follow the JSON"),
        ({"binary_data_size": 48}, "binary_data_size is 48, and 24 bytes follow the JSON"),
        ({"binary_data_size": -24}, "binary_data_size is -24; it is a number of bytes"),
        ({"binary_data_size": "24"}, "binary_data_size is 24; it is a number of bytes"),
        ({"binary_data_size": True}, "binary_data_size is True; it is a number of bytes"),
        ({"binary_data_size": 24.0}, "binary_data_size is 24.0; it is a number of bytes"),
        ({}, "24 bytes follow the JSON, and inputs[0].parameters has no binary_data_size"),
    ],
)
def test_sizes_of_binary_data_that_do_not_fit(change: dict[str, Any], said: str) -> None:
    head = {"name": "x", "shape": [1, 3], "datatype": "FP64", "parameters": change}
    text = json.dumps({"inputs": [head]}).encode()
    assert said in _refused(text + bytes(24), len(text))


def test_bytes_that_are_no_whole_number_of_values() -> None:
    head = {"name": "x", "shape": [1, 3], "datatype": "FP64", "parameters": {"binary_data_size": 23}}
    text = json.dumps({"inputs": [head]}).encode()
    assert "23 bytes, which is no whole number of FP64 values" in _refused(text + bytes(23), len(text))


def test_data_and_binary_data_are_one_too_many() -> None:
    both = tensor(ROW, [1, 3], parameters={"binary_data_size": 24})
    text = body(both)
    assert "both data and the parameter binary_data_size" in _refused(text + bytes(24), len(text))
    assert "both data and the parameter binary_data_size" in _refused(text)


def test_binary_data_needs_the_header_that_says_where_it_begins() -> None:
    content, _ = binary_body(np.array([ROW]))
    assert "trailing characters" in _refused(content)
    head = {"name": "x", "shape": [1, 3], "datatype": "FP64", "parameters": {"binary_data_size": 24}}
    assert "no header Inference-Header-Content-Length" in _refused(json.dumps({"inputs": [head]}).encode())


def test_a_length_of_the_json_beyond_the_body() -> None:
    assert "is 1000000, and the body has" in _refused(body(tensor(ROW, [1, 3])), 1_000_000)


def test_neither_data_nor_binary_data() -> None:
    head = {"name": "x", "shape": [1, 3], "datatype": "FP64", "parameters": {"shared_memory_region": "r"}}
    assert "shared memory is not supported" in _refused(json.dumps({"inputs": [head]}).encode())


@pytest.mark.parametrize("more", [{"parameters": {"a": 1}}, {"outputs": [{"name": "is_anomaly"}]}])
def test_the_short_way_is_for_the_commonest_form_alone(more: dict[str, Any]) -> None:
    assert lone_record(body(tensor(ROW, [1, 3]))) == (ROW, None)
    assert lone_record(body(tensor([ROW], [1, 3]), id="7")) == (ROW, "7")
    assert lone_record(body(tensor(ROW, [1, 3]), **more)) is None
    assert lone_record(body(tensor(ROW, [1, 3], "FP32"))) is None
    assert lone_record(body(tensor(ROW, [3]))) is None
    assert lone_record(body(tensor([ROW, ROW], [2, 3]))) is None


@given(st.binary(max_size=200), st.none() | st.integers(0, 300))
@example(b"[" * 10_000, None)
def test_bytes_of_any_kind_are_taken_or_refused(content: bytes, json_size: int | None) -> None:
    _taken_or_refused(content, json_size)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def _sometimes(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return usual | usual | usual | _json


_parameters = st.dictionaries(st.sampled_from(["binary_data_size", "binary_data", "binary_data_output", "x"]), _json)
_tensors = st.fixed_dictionaries(
    {
        "name": _sometimes(st.text(max_size=5)),
        "shape": _sometimes(st.lists(st.integers(-3, 5) | st.integers(), max_size=3)),
        "datatype": _sometimes(st.sampled_from([*NUMPY, "BYTES", "BOOL", ""])),
    },
    optional={"data": _sometimes(st.lists(st.integers(-5, 5) | st.floats())), "parameters": _sometimes(_parameters)},
)
_requests = st.fixed_dictionaries(
    {"inputs": _sometimes(st.lists(_tensors, max_size=2))},
    optional={"id": _json, "outputs": _json, "parameters": _sometimes(_parameters)},
)


@given(_requests, st.binary(max_size=64), st.booleans())
def test_requests_of_any_kind_are_taken_or_refused(document: dict[str, Any], content: bytes, has_header: bool) -> None:
    text = json.dumps(document).encode()
    _taken_or_refused(text + content, len(text) if has_header else None)


def _taken_or_refused(content: bytes, json_size: int | None) -> None:
    lone_record(content)
    try:
        request = read_request(content, json_size, SIGNATURE)
    except BadInferRequest:
        return
    assert request.rows.shape[1] == 3
    assert np.isfinite(request.rows.astype(np.float32)).all()
