"""Streams that Arrow takes and that are not safe to work on."""

from __future__ import annotations

import ctypes

import pyarrow as pa
import pytest

from contract.errors import Malformed
from predictor.hotpath.arrow_stream import read_table

_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Schema(ctypes.Structure):
    """Arrow's C data interface: the only way to a type that pyarrow has no name for."""

    _fields_ = (
        ("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", ctypes.c_char_p),
        ("flags", ctypes.c_int64), ("n_children", ctypes.c_int64), ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p), ("release", ctypes.c_void_p), ("private_data", ctypes.c_void_p),
    )  # fmt: skip


def interval(form: bytes) -> pa.DataType:
    """The type that the C data interface calls ``form``."""

    @_Release
    def release(address: int) -> None:
        _Schema.from_address(address).release = None

    made = _Schema(form, b"", None, 2, 0, None, None, ctypes.cast(release, ctypes.c_void_p), None)
    return pa.DataType._import_from_c(ctypes.addressof(made))


def stream(kind: pa.DataType, like: pa.Array) -> bytes:
    """A stream with one column of type ``kind``, whose buffers are those of ``like``."""
    batch = pa.record_batch({"feature_vector": like})
    return b"".join((pa.schema({"feature_vector": kind}).serialize(), batch.serialize(), _END))


def test_such_a_stream_is_whole() -> None:
    """Else what follows would say nothing."""
    assert read_table(stream(pa.int32(), pa.array([1], pa.int32()))).num_rows == 1


@pytest.mark.parametrize(("form", "width"), [(b"tiM", pa.int32()), (b"tiD", pa.int64())])
@pytest.mark.parametrize("nested", [False, True])
def test_a_type_that_pyarrow_cannot_read_is_refused(form: bytes, width: pa.DataType, nested: bool) -> None:
    kind, like = interval(form), pa.array([1], width)
    if nested:
        kind, like = pa.list_(kind), pa.array([[1]], pa.list_(width))
    with pytest.raises(Malformed, match=r"the column feature_vector holds .*interval.*, which cannot be read"):
        read_table(stream(kind, like))
