"""Large bodies that would become gigabytes of objects are refused before they do."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import pytest

from predictor.v2 import v1
from predictor.v2.errors import BadInferRequest
from predictor.v2.json_bounds import LARGE_BYTES, count
from predictor.v2.json_request import read_request
from tests.predictor.v2.asking import SIGNATURE, body, tensor

HEAD = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1,3],"data":['
TAIL = b"]}]}"
MANY = 2 * LARGE_BYTES


def _flat(part: bytes) -> bytes:
    return HEAD + part * (MANY // len(part)) + b"1" + TAIL


def _in_parameters(part: bytes) -> bytes:
    return b'{"parameters":{"a":[' + part * (MANY // len(part)) + b'1]},"inputs":[]}'


def _without_commas(_part: bytes) -> bytes:
    return b'{"inputs":[' + b"[" * MANY


def _whole(content: bytes) -> object:
    return read_request(content, None, SIGNATURE)


def _with_binary_data(content: bytes) -> object:
    return read_request(content + b"\x00", len(content), SIGNATURE)


@pytest.mark.parametrize("form", [_flat, _in_parameters])
@pytest.mark.parametrize("part", [b"0,", b"[],", b"{},", b'"",', b"[0],"])
@pytest.mark.parametrize("read", [_whole, _with_binary_data])
def test_infer_requests_with_more_values_or_lists_than_rows_have(
    form: Callable[[bytes], bytes], part: bytes, read: Callable[[bytes], object]
) -> None:
    _refused_with_little_memory(lambda: read(form(part)), len(form(part)))


def _by_v1(content: bytes) -> object:
    return v1.decode_bounded(content, SIGNATURE)


@pytest.mark.parametrize("read", [_whole, _with_binary_data, _by_v1])
def test_lists_within_lists_within_lists(read: Callable[[bytes], object]) -> None:
    _refused_with_little_memory(lambda: read(_without_commas(b"")), MANY)


@pytest.mark.parametrize("part", [b"0,", b"[],", b"{},", b"[0,0],"])
def test_v1_requests_with_more_values_or_lists_than_rows_have(part: bytes) -> None:
    content = b'{"instances":[' + part * (MANY // len(part)) + b"0]}"
    _refused_with_little_memory(lambda: _by_v1(content), len(content))


def _refused_with_little_memory(read: Callable[[], object], size: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadInferRequest, match="send the rows in several requests"):
            read()
        assert tracemalloc.get_traced_memory()[1] < 4 * size
    finally:
        tracemalloc.stop()


def test_as_many_rows_as_may_be_are_taken_however_long_their_numbers_are() -> None:
    rows = [[1 / 3 + row, -1 / 7, 1e-300] for row in range(SIGNATURE.most_rows)]
    padding = {"note": "x" * LARGE_BYTES}
    for data in (rows, [value for row in rows for value in row]):
        asked = read_request(body(tensor(data, [len(rows), 3]), parameters=padding), None, SIGNATURE)
        assert asked.rows.tolist() == rows
    by_name = [dict(zip(SIGNATURE.feature_names, row, strict=True)) for row in rows]
    for instances in (rows, by_name):
        content = json.dumps({"instances": instances, "note": "x" * LARGE_BYTES}).encode()
        assert v1.rows_of(v1.decode_bounded(content, SIGNATURE), SIGNATURE).tolist() == rows


@pytest.mark.parametrize("size", [0, 1, 1 << 16, (1 << 16) + 1, 200_000])
def test_characters_are_counted(size: int) -> None:
    content = b",x" * size
    assert count(content, ",") == size
