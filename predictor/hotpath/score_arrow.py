"""``POST /score`` as an Arrow stream: a table of records in, a table of scores out, never row by row.

Columns: ``vehicle_id`` (strings), ``timestamp`` (with a time zone), and either ``feature_vector`` (lists of numbers)
or one column for each feature. ``model`` and ``model_version`` may be columns too, each with one value throughout: a
stream is scored by one version. What JSON would refuse is refused here: numbers as ids, both forms of features.

Values are read from Arrow's buffers, because pyarrow's own way to numpy imports pandas wherever that is installed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contract.errors import Fault, InvalidInput, shown
from contract.names import MODEL_NAME_RULE, is_model_name
from contract.telemetry import EARLIEST, LARGEST_VALUE, Limits
from predictor.hotpath.arrow_stream import read_table
from scoring.kernel import first_bad

_NEEDED = ("vehicle_id", "timestamp")
_OWN = (*_NEEDED, "model", "model_version", "feature_vector")
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
Number = TypeVar("Number", np.float64, np.int64)


@dataclass(frozen=True)
class Stream:
    """A table of records that was checked but for its features, which depend on the model."""

    table: pa.Table
    vehicle_ids: Sequence[str]
    model: str | None
    model_version: str | None


def decode(body: bytes, *, now: datetime, limits: Limits) -> Stream:
    """Return the records of an Arrow stream.

    Raises:
        Malformed: the body is no Arrow stream.
        UnsupportedMedia: it is compressed.
        InvalidInput: it is one and breaks a rule.

    """
    table = read_table(body)
    _check_count(table.num_rows, limits)
    _check_columns(table.column_names)
    ids = _ids(table, limits)
    _check_stamps(table.column("timestamp"), now, limits)
    model = _constant(table, "model", limits)
    if model is not None and not is_model_name(model):
        raise InvalidInput([Fault("/model", f"{MODEL_NAME_RULE}; got {shown(model)!r}", shown(model), "63 characters")])
    return Stream(table, ids, model, _constant(table, "model_version", limits))


def matrix(stream: Stream, feature_names: tuple[str, ...], *, model: str) -> NDArray[np.float64]:
    """Return the rows in the order of ``feature_names``, float64 ``(n, n_features)``.

    Raises:
        InvalidInput: features are missing, extra, not numeric, null, not finite or beyond float32's range.

    """
    table = stream.table
    if "feature_vector" in table.column_names:
        X = _vectors(table.column("feature_vector"), len(feature_names), model)
    else:
        X = _columns(table, feature_names, model)
    bad = first_bad(X)
    if bad is not None:
        row, column = bad
        name, value = feature_names[column], X[row, column]
        detail = f"{name} must be finite and within ±{LARGEST_VALUE:.7g} (float32); got {value:g}"
        raise InvalidInput([Fault(f"/{row}/{name}", detail, f"{value:g}", f"{LARGEST_VALUE:.7g}")])
    return X


def encode(stream: Stream, decision: NDArray[np.float64], version: str) -> bytes:
    """Return the answer: vehicle_id, anomaly_score, is_anomaly and model_version, in the stream's order."""
    n = len(decision)
    flags = np.packbits(decision < 0, bitorder="little")
    columns = [
        stream.table.column("vehicle_id").combine_chunks(),
        pa.Array.from_buffers(pa.float64(), n, [None, pa.py_buffer(np.ascontiguousarray(decision))]),
        pa.Array.from_buffers(pa.bool_(), n, [None, pa.py_buffer(flags)]),
        _repeated(version, n),
    ]
    table = pa.Table.from_arrays(columns, names=["vehicle_id", "anomaly_score", "is_anomaly", "model_version"])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _check_count(count: int, limits: Limits) -> None:
    if not 1 <= count <= limits.records:
        detail = f"a stream must have 1 to {limits.records} records; got {count}"
        raise InvalidInput([Fault("", detail, str(count), str(limits.records))])


def _check_columns(names: Sequence[str]) -> None:
    """Refuse a table in which one of a record's own columns is missing, or there more than once."""
    for name in _OWN:
        count = names.count(name)
        if count > 1 or (count == 0 and name in _NEEDED):
            detail = f"the table must have one column {name}; it has {shown(', '.join(names), 400)}"
            raise InvalidInput([Fault(f"/{name}", detail)])
    features = [name for name in names if name not in _OWN]
    if features and "feature_vector" in names:
        detail = f"must have either feature_vector or columns of features; got both: {shown(', '.join(features), 400)}"
        raise InvalidInput([Fault("", detail, "both")])


def _ids(table: pa.Table, limits: Limits) -> list[str]:
    values: list[str] = _texts(table, "vehicle_id", limits).to_pylist()
    for row, value in enumerate(values):
        if not (0 < len(value) <= limits.id_characters and value.isprintable()):
            detail = f"must have 1 to {limits.id_characters} printable characters; got {len(value)}"
            raise InvalidInput([Fault(f"/{row}/vehicle_id", detail, shown(ascii(value)))])
    return values


def _check_stamps(column: pa.ChunkedArray, now: datetime, limits: Limits) -> None:
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        detail = f"the column timestamp must hold timestamps with a time zone; it holds {column.type}"
        raise InvalidInput([Fault("/timestamp", detail, str(column.type))])
    micros = _micros(_whole(column, "/timestamp"))
    earliest, latest = (int(time.timestamp() * 1e6) for time in (EARLIEST, now + limits.ahead))
    wrong = np.flatnonzero((micros < earliest) | (micros > latest))
    if len(wrong):
        row = int(wrong[0])
        detail = (
            f"must be between {EARLIEST.isoformat()} and {(now + limits.ahead).isoformat()}; "
            f"got {micros[row]} microseconds since 1970 (and {len(wrong) - 1} more)"
        )
        raise InvalidInput([Fault(f"/{row}/timestamp", detail, str(micros[row]))])


def _micros(stamps: pa.Array) -> NDArray[np.int64]:
    """Return time stamps as microseconds since 1970; what is finer is cut off, as in JSON."""
    kind = pa.timestamp("us", tz=stamps.type.tz)
    try:
        return _values(pc.cast(stamps, options=pc.CastOptions(kind, allow_time_truncate=True)), np.int64)
    except pa.ArrowInvalid as refusal:  # a second too far away for microseconds in 64 bits
        raise InvalidInput([Fault("/timestamp", shown(str(refusal), 200), str(stamps.type))]) from refusal


def _constant(table: pa.Table, name: str, limits: Limits) -> str | None:
    """Return the one value of a column that must not change within a stream; None where there is no such column."""
    if name not in table.column_names:
        return None
    values = pc.unique(_texts(table, name, limits)).to_pylist()
    if len(values) != 1:
        detail = f"a stream is scored by one {name}; got {len(values)} ({shown(', '.join(values))}): send one for each"
        raise InvalidInput([Fault(f"/{name}", detail)])
    return str(values[0])


def _texts(table: pa.Table, name: str, limits: Limits) -> pa.Array:
    """Return a column of strings; refuses other types, nulls, and texts longer than any that can be meant.

    That before they are copied: many rows of a view or a dictionary may refer to one text of megabytes.
    """
    whole = _whole(table.column(name), f"/{name}")
    values = whole.dictionary if pa.types.is_dictionary(whole.type) else whole
    if not any(is_text(values.type) for is_text in _TEXT):
        detail = f"the column must hold strings; it holds {whole.type}"
        raise InvalidInput([Fault(f"/{name}", detail, str(whole.type))])
    if _longest(values) > 4 * limits.id_characters:  # bytes of so many characters
        limit = f"1 to {limits.id_characters} characters"
        raise InvalidInput([Fault(f"/{name}", f"every value must have {limit}; one has more", limit=limit)])
    texts = pc.cast(whole, pa.string())
    if texts.null_count:  # a dictionary may have a null among its values
        raise InvalidInput([Fault(f"/{name}", f"the column must have no nulls; it has {texts.null_count}")])
    return texts


def _longest(texts: pa.Array) -> int:
    """Return the length of the longest text, in bytes."""
    if pa.types.is_string_view(texts.type):  # a view is 16 bytes, the first four of which are the length
        views = np.frombuffer(texts.buffers()[1], np.int32, 4 * len(texts), 16 * texts.offset)
        return int(views[::4].max(initial=0))
    return pc.max(pc.binary_length(texts)).as_py() or 0


def _vectors(column: pa.ChunkedArray, width: int, model: str) -> NDArray[np.float64]:
    lists = _whole(column, "/feature_vector")
    if not (
        pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type) or pa.types.is_fixed_size_list(lists.type)
    ):
        detail = f"the column feature_vector must hold lists of numbers; it holds {lists.type}"
        raise InvalidInput([Fault("/feature_vector", detail, str(lists.type))])
    lengths = _numbers(pc.list_value_length(lists), "/feature_vector")
    wrong = np.flatnonzero(lengths != width)
    if len(wrong):
        row = int(wrong[0])
        detail = f"model {model!r} expects {width} values; got {int(lengths[row])}"
        raise InvalidInput([Fault(f"/{row}/feature_vector", detail, str(int(lengths[row])), str(width))])
    return _numbers(pc.list_flatten(lists), "/feature_vector").reshape(len(lists), width)


def _columns(table: pa.Table, feature_names: tuple[str, ...], model: str) -> NDArray[np.float64]:
    came = [name for name in table.column_names if name not in _OWN]
    if sorted(came) != sorted(feature_names):
        detail = (
            f"model {model!r} has the features {shown(', '.join(feature_names), 400)}; "
            f"the table has the columns {shown(', '.join(came), 400)}"
        )
        raise InvalidInput([Fault("", detail)])
    return np.column_stack([_numbers(_whole(table.column(name), f"/{name}"), f"/{name}") for name in feature_names])


def _whole(column: pa.ChunkedArray, pointer: str) -> pa.Array:
    """Return a column in one piece; it must have no nulls."""
    if column.null_count:
        raise InvalidInput([Fault(pointer, f"the column must have no nulls; it has {column.null_count}")])
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _numbers(whole: pa.Array, pointer: str) -> NDArray[np.float64]:
    kind = whole.type
    if whole.null_count or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InvalidInput([Fault(pointer, f"the column must hold numbers and no nulls; it holds {kind}", str(kind))])
    return _values(pc.cast(whole, pa.float64(), safe=False), np.float64)


def _values(array: pa.Array, dtype: type[Number]) -> NDArray[Number]:
    """Return the values of an array of fixed width without copying them, unless they lie where nobody can compute."""
    values = np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * np.dtype(dtype).itemsize)
    return np.require(values, requirements="A")


def _repeated(text: str, count: int) -> pa.Array:
    data = text.encode()
    ends = np.arange(count + 1, dtype=np.int32) * len(data)
    return pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(data * count))
