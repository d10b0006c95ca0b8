"""``POST /score`` as an Arrow stream: the same answers as JSON's, and complaints that name the column or the row."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.predictor.hotpath.conftest import FEATURES, NEW, OLD, pinned
from tests.predictor.hotpath.documented import Documented
from tests.predictor.records import record
from tests.predictor.running import Running

ARROW = "application/vnd.apache.arrow.stream"
MOST = 500
WHEN = datetime(2024, 1, 15, 10, tzinfo=UTC)
STAMP = pa.timestamp("us", tz="UTC")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A predictor that takes few records at once."""
    with pinned(tmp_path_factory.mktemp("objects"), max_records=MOST, max_body_bytes=1 << 20) as started:
        yield started


def table(rows: Any = ((0.5, 0.3, 0.8, 1.2), (9.0, 0, 0, 0)), **changes: Any) -> pa.Table:
    """A table of records by position; a column that is None is left out."""
    n = len(rows)
    columns: dict[str, Any] = {
        "vehicle_id": [f"VH-{number}" for number in range(n)],
        "timestamp": pa.array([WHEN] * n, STAMP),
        "feature_vector": pa.array([list(row) for row in rows], pa.list_(pa.float64())),
    }
    kept = {name: column for name, column in (columns | changes).items() if column is not None}
    return pa.table(kept)


def by_name(rows: Any = ((0.5, 0.3, 0.8, 1.2), (9.0, 0, 0, 0)), **changes: Any) -> pa.Table:
    """The same with a column for each feature, in another order."""
    columns = {name: pa.array([row[at] for row in rows], pa.float64()) for at, name in enumerate(FEATURES)}
    return table(rows, feature_vector=None, **(dict(reversed(columns.items())) | changes))


def stream(data: pa.Table, *, most_rows: int | None = None, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, data.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(data, max_chunksize=most_rows)
    return sink.getvalue()


def post(server: Running, body: bytes, **headers: str) -> httpx.Response:
    """Ask, and hold the answer against the documentation."""
    answer = server.client.post("/score", content=body, headers={"Content-Type": ARROW} | headers)
    documented = Documented(server.client.get("/openapi.json").json())
    operation = documented.operation("post", "/score")
    documented.check(operation, answer.status_code, answer.headers.items(), answer.content)
    return answer


def scored(answer: httpx.Response) -> pa.Table:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == ARROW
    with pa.ipc.open_stream(answer.content) as reader:
        return reader.read_all()


def complaint(server: Running, body: bytes, status: int) -> dict[str, Any]:
    """The problem document, which is JSON whatever came."""
    answer = post(server, body)
    assert answer.status_code == status, answer.content
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    return problem


def as_json(server: Running, rows: Any, **changes: Any) -> list[dict[str, Any]]:
    """What JSON answers for the same rows."""
    body = [record(vehicle_id=f"VH-{at}", feature_vector=list(row), **changes) for at, row in enumerate(rows)]
    answers: list[dict[str, Any]] = server.client.post("/score", json=body).json()
    return answers


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 4), min_size=1, max_size=40),
    most=st.integers(1, 50),
    named=st.booleans(),
)
def test_streams_are_scored_like_arrays(server: Running, rows: list[Any], most: int, named: bool) -> None:
    """Number for number, in one batch or in many, by position or by name."""
    made = by_name(rows) if named else table(rows)
    answer = scored(post(server, stream(made, most_rows=most)))
    assert answer.schema == pa.schema(
        {
            "vehicle_id": pa.string(),
            "anomaly_score": pa.float64(),
            "is_anomaly": pa.bool_(),
            "model_version": pa.string(),
        }
    )
    assert answer.to_pylist() == as_json(server, rows)


def test_a_model_and_a_version_may_be_columns(server: Running) -> None:
    rows = [(0.5, 0, 0, 0)] * 2
    answer = scored(post(server, stream(table(rows, model_version=[OLD] * 2))))
    assert answer.to_pylist() == as_json(server, rows, model_version=OLD)
    answer = scored(post(server, stream(table([(1, 2)], model=["other"], model_version=[OLD]))))
    assert answer.to_pylist() == as_json(server, [(1, 2)], model="other", model_version=OLD)
    assert scored(post(server, stream(table()))).column("model_version").to_pylist() == [NEW] * 2


@pytest.mark.parametrize(
    "kind",
    [pa.float32(), pa.float16(), pa.int8(), pa.int64(), pa.uint16()],
    ids=str,
)
def test_numbers_of_every_type_are_taken(server: Running, kind: pa.DataType) -> None:
    rows = [(1, 2, 3, 4), (7, 0, 0, 0)]
    values = pa.array([np.asarray(row, kind.to_pandas_dtype()) for row in rows], pa.list_(kind))
    assert scored(post(server, stream(table(rows, feature_vector=values)))).to_pylist() == as_json(server, rows)


@pytest.mark.parametrize(
    "lists", [pa.list_(pa.float64(), 4), pa.large_list(pa.float64())], ids=["of a fixed size", "large"]
)
def test_lists_of_every_kind_are_taken(server: Running, lists: pa.DataType) -> None:
    rows = [(1.0, 2, 3, 4), (7.0, 0, 0, 0)]
    values = pa.array([list(row) for row in rows], lists)
    assert scored(post(server, stream(table(rows, feature_vector=values)))).to_pylist() == as_json(server, rows)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_texts_of_every_kind_are_taken(server: Running, kind: pa.DataType) -> None:
    ids = pa.array(["VH-0", "VH-1"], pa.string()).cast(kind) if pa.types.is_dictionary(kind) else ["VH-0", "VH-1"]
    answer = scored(post(server, stream(table(vehicle_id=pa.array(ids, kind) if isinstance(ids, list) else ids))))
    assert answer.column("vehicle_id").to_pylist() == ["VH-0", "VH-1"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_time_stamps_of_every_unit_are_taken(server: Running, unit: str) -> None:
    stamps = pa.array([WHEN] * 2, pa.timestamp(unit, tz="Europe/Berlin"))
    assert scored(post(server, stream(table(timestamp=stamps)))).num_rows == 2


@pytest.mark.parametrize("accept", ["application/json", "text/csv", "*/*"])
def test_the_form_of_the_answer_is_that_of_the_request(server: Running, accept: str) -> None:
    """Whatever Accept says: a client knows what it sent."""
    assert scored(post(server, stream(table()), Accept=accept)).num_rows == 2


def test_a_whole_file_or_a_piece_of_a_stream_is_no_stream(server: Running) -> None:
    """400, and no word of Arrow's that a person could not understand."""
    whole = stream(table())
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table().schema) as writer:
        writer.write_table(table())
    for body in (b"", b"{}", b"ARROW1", whole[:40], whole[: len(whole) // 2], b"\xff" * 100, sink.getvalue()):
        problem = complaint(server, body, 400)
        assert problem["type"] == "urn:telltale:problem:malformed-body"
        assert "must be an Arrow IPC stream" in problem["detail"]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_streams_are_refused(server: Running, codec: str) -> None:
    """By their own compression, as by HTTP's: a few kilobytes could unfold to gigabytes."""
    problem = complaint(server, stream(table([(0.0, 0, 0, 0)] * 100), compression=codec), 415)
    assert "compressed" in problem["detail"]
    assert post(server, stream(table()), **{"Content-Encoding": "gzip"}).status_code == 415


BAD_TABLES = {
    "no ids": (table(vehicle_id=None), "/vehicle_id", "must have one column vehicle_id; it has timestamp"),
    "no times": (table(timestamp=None), "/timestamp", "must have one column timestamp"),
    "no features": (table(feature_vector=None), "", "has the features f0, f1, f2, f3"),
    "both forms of features": (table(f0=[1.0, 2.0]), "", "got both: f0"),
    "a feature too many": (by_name(f4=[1.0, 2.0]), "", "has the features f0, f1, f2, f3"),
    "a feature too few": (by_name().drop_columns(["f2"]), "", "has the features f0, f1, f2, f3"),
    "numbers as ids": (table(vehicle_id=[1, 2]), "/vehicle_id", "must hold strings; it holds int64"),
    "an id that is null": (table(vehicle_id=["a", None]), "/vehicle_id", "no nulls; it has 1"),
    "an id that is empty": (table(vehicle_id=["a", ""]), "/1/vehicle_id", "1 to 256 printable characters; got 0"),
    "an id too long": (table(vehicle_id=["a", "x" * 2000]), "/vehicle_id", "1 to 256 characters; one has more"),
    "an id of control characters": (table(vehicle_id=["a", "b\x00"]), "/1/vehicle_id", "printable"),
    "times without zone": (
        table(timestamp=pa.array([datetime(2024, 1, 15)] * 2, pa.timestamp("us"))),  # noqa: DTZ001 - the very case
        "/timestamp",
        "with a time zone; it holds timestamp[us]",
    ),
    "times as text": (table(timestamp=["2024-01-15T10:00:00Z"] * 2), "/timestamp", "it holds string"),
    "a time too early": (
        table(timestamp=pa.array([WHEN, datetime(1970, 6, 1, tzinfo=UTC)], STAMP)),
        "/1/timestamp",
        "must be between 1971-01-01",
    ),
    "lists of a wrong length": (
        table(feature_vector=pa.array([[1.0] * 4, [1.0] * 3])),
        "/1/feature_vector",
        "model 'default' expects 4 values; got 3",
    ),
    "a list that is null": (table(feature_vector=pa.array([[1.0] * 4, None])), "/feature_vector", "no nulls"),
    "a value that is null": (
        table(feature_vector=pa.array([[1.0] * 4, [1.0, None, 3.0, 4.0]])),
        "/feature_vector",
        "must hold numbers and no nulls",
    ),
    "text as values": (
        table(feature_vector=pa.array([["a"] * 4] * 2)),
        "/feature_vector",
        "must hold numbers and no nulls; it holds string",
    ),
    "no lists": (table(feature_vector=[1.0, 2.0]), "/feature_vector", "must hold lists of numbers; it holds double"),
    "not a number": (table([(1, 2, 3, 4), (1, float("nan"), 3, 4)]), "/1/f1", "f1 must be finite"),
    "an infinity by name": (by_name([(1, 2, 3, 4), (1, 2, 3, float("inf"))]), "/1/f3", "f3 must be finite"),
    "a number beyond float32": (table([(1e39, 2, 3, 4)]), "/0/f0", "float32"),
    "two models": (table(model=["default", "other"]), "/model", "is scored by one model; got 2"),
    "a name that is none": (table(model=["../x"] * 2), "/model", "1 to 63 of a-z"),
    "no rows": (table().slice(0, 0), "", "1 to 500 records; got 0"),
    "too many rows": (table([(0.0, 0, 0, 0)] * (MOST + 1)), "", "1 to 500 records; got 501"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_table_that_breaks_a_rule_is_refused(server: Running, case: str) -> None:
    """The pointer is the column, or the row and the column."""
    data, pointer, words = BAD_TABLES[case]
    problem = complaint(server, stream(data), 422)
    assert problem["type"] == "urn:telltale:problem:invalid-input"
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert words in problem["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("changes", "pointer", "slug"),
    [
        ({"model": ["nobody"] * 2}, "/model", "unknown-model"),
        ({"model_version": ["20230101000000"] * 2}, "/model_version", "unknown-version"),
    ],
)
def test_what_is_not_there_is_named(server: Running, changes: dict[str, Any], pointer: str, slug: str) -> None:
    problem = complaint(server, stream(table(**changes)), 404)
    assert problem["type"] == f"urn:telltale:problem:{slug}"
    assert problem["errors"][0]["pointer"] == pointer


def test_a_stream_over_the_limit_is_refused_unread(server: Running) -> None:
    body = stream(table([(0.0, 0, 0, 0)])) + b"\x00" * (1 << 20)
    assert complaint(server, body, 413)["errors"][0]["limit"] == "1048576 bytes"


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 900), value=st.integers(0, 255), cut=st.integers(0, 900))
def test_a_damaged_stream_breaks_nothing(server: Running, at: int, value: int, cut: int) -> None:
    """Whatever a byte is changed to: an answer, or what is wrong."""
    body = bytearray(stream(table(model=["default"] * 2)))
    body[at % len(body)] = value
    if cut > 450:
        del body[cut:]
    assert post(server, bytes(body)).status_code in (200, 400, 404, 415, 422)
