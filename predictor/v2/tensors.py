"""Tensors of the protocol as rows that can be scored, and the sentences that say why some cannot. PURE.

A model takes one tensor of shape ``[n, n_features]`` and any datatype of numbers. Two things are taken beside: a shape
of ``[n_features]`` is one row, and one dimension may be -1, which the number of values then settles. Binary tensors are
read where they lie. NaN, infinities and values beyond float32's range are refused whatever carried them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from contract.errors import shown
from predictor.v2.complaints import misplaced
from predictor.v2.errors import BadInferRequest
from scoring.kernel import first_bad

Rows = NDArray[Any]

# The protocol's names; binary tensors are little-endian on every machine.
_DTYPES: dict[str, np.dtype[Any]] = {
    "FP64": np.dtype("<f8"),
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "INT64": np.dtype("<i8"),
    "INT32": np.dtype("<i4"),
    "INT16": np.dtype("<i2"),
    "INT8": np.dtype("i1"),
    "UINT64": np.dtype("<u8"),
    "UINT32": np.dtype("<u4"),
    "UINT16": np.dtype("<u2"),
    "UINT8": np.dtype("u1"),
}
_FLOATS = ("FP64", "FP32")
_LONGEST_SHAPE = 8


@dataclass(frozen=True, slots=True)
class TensorHead:
    """What a request says of its one input tensor, whatever carried it.

    Args:
        place: how a sentence names it, such as ``inputs[0]``.
        datatype: the protocol's name.
        shape: as it came.

    """

    place: str
    datatype: str
    shape: Sequence[int]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes, and how much of it at once."""

    model: str
    feature_names: Sequence[str]
    most_rows: int

    @property
    def n_features(self) -> int:
        """Number of values in a row."""
        return len(self.feature_names)


def rows_of_values(head: TensorHead, values: Sequence[float] | NDArray[np.float64], signature: Signature) -> Rows:
    """Return a flat list of numbers as rows, shape ``(n, n_features)``.

    Raises:
        BadInferRequest: datatype, shape, number of values or a value cannot be taken.

    """
    dtype = listed_dtype(head)
    n_rows = rows_in(head, len(values), signature)
    flat = values if isinstance(values, np.ndarray) else np.fromiter(values, np.float64, len(values))
    return _checked(head, _whole(head, flat, dtype).reshape(n_rows, signature.n_features), signature)


def rows_of_lists(head: TensorHead, lists: Sequence[Sequence[float]], signature: Signature) -> Rows:
    """Return a list of rows as an array, shape ``(n, n_features)``; errors as of :func:`rows_of_values`."""
    n_features = signature.n_features
    if set(map(len, lists)) - {n_features}:
        raise _bad_row(head, lists, signature)
    dtype = listed_dtype(head)
    count = len(lists) * n_features
    n_rows = rows_in(head, count, signature)
    flat = np.fromiter(chain.from_iterable(lists), np.float64, count)
    return _checked(head, _whole(head, flat, dtype).reshape(n_rows, n_features), signature)


def rows_of_anything(head: TensorHead, data: object, signature: Signature) -> Rows:
    """Return a list of numbers, or a list of rows, as rows; errors as of :func:`rows_of_values`.

    For data that was decoded without its types: strings and booleans are no numbers here either.
    """
    nested = isinstance(data, list) and bool(data) and isinstance(data[0], list)
    try:
        if nested:
            return rows_of_lists(head, msgspec.convert(data, list[list[float]]), signature)
        return rows_of_values(head, msgspec.convert(data, list[float]), signature)
    except msgspec.ValidationError as fault:
        raise BadInferRequest(misplaced(fault, f"{head.place}.data")) from fault


def rows_of_bytes(head: TensorHead, content: bytes | memoryview, signature: Signature) -> Rows:
    """Return a binary tensor as rows, shape ``(n, n_features)``; errors as of :func:`rows_of_values`."""
    dtype = _dtype(head)
    if len(content) % dtype.itemsize:
        raise BadInferRequest(
            f"{head.place} has {len(content)} bytes, which is no whole number of {head.datatype} values of"
            f" {dtype.itemsize} bytes"
        )
    n_rows = rows_in(head, len(content) // dtype.itemsize, signature)
    rows = np.frombuffer(content, dtype).reshape(n_rows, signature.n_features)
    # Half floats hold too little for the comparison with float32's range. And not every processor reads a number that
    # is not aligned, as the JSON before it leaves it.
    wanted = np.dtype(np.float32) if head.datatype == "FP16" else dtype.newbyteorder("=")
    return _checked(head, np.require(rows, wanted, ["C", "ALIGNED"]), signature)


def rows_in(head: TensorHead, n_values: int | None, signature: Signature) -> int:
    """Return the number of rows that a shape means; ``n_values`` None if they are not counted yet.

    Raises:
        BadInferRequest: the shape is not one of this model's, or not that of so many values, or has too many rows.

    """
    shape = list(head.shape)
    n_features = signature.n_features
    if len(shape) not in (1, 2) or any(size < -1 for size in shape) or shape.count(-1) > 1:
        raise _bad_shape(head, signature)
    if len(shape) == 1:
        shape.insert(0, 1)
    if shape[1] not in (n_features, -1):
        raise _bad_shape(head, signature)
    if shape[0] == -1 and n_values is not None:
        shape[0] = n_values // n_features
    if shape[0] > signature.most_rows:
        raise BadInferRequest(
            f"{head.place} has {shape[0]} rows; the limit is {signature.most_rows}: send them in several requests"
        )
    if n_values is not None and shape[0] * n_features != n_values:
        raise BadInferRequest(
            f"{head.place} has {n_values} values, and its shape {shown(list(head.shape))} with {n_features} features"
            f" a row means {shape[0] * n_features}"
        )
    return shape[0]


def listed_dtype(head: TensorHead) -> np.dtype[Any]:
    """Return the dtype of a tensor whose values come as a list of numbers; BadInferRequest if there is none."""
    dtype = _dtype(head)
    if head.datatype == "FP16":
        raise BadInferRequest(f"{head.place}.datatype is FP16, which comes as binary data alone: send FP32 or FP64")
    return dtype


def bad_value(head: TensorHead, row: int, column: int, value: object, signature: Signature) -> BadInferRequest:
    """Return the error for a value that cannot be compared truly by a tree."""
    return BadInferRequest(
        f"{head.place}: row {row}, feature {column} ({shown(signature.feature_names[column])}) is {value}; values must"
        " be finite and within float32's range (up to about 3.4e38)"
    )


def _checked(head: TensorHead, rows: Rows, signature: Signature) -> Rows:
    bad = first_bad(rows) if rows.dtype.kind == "f" else None
    if bad is not None:
        raise bad_value(head, *bad, rows[bad], signature)
    return rows


def _dtype(head: TensorHead) -> np.dtype[Any]:
    dtype = _DTYPES.get(head.datatype)
    if dtype is None:
        raise BadInferRequest(
            f"{head.place}.datatype is {shown(head.datatype)!r}; a model takes numbers: {', '.join(_DTYPES)}"
        )
    return dtype


def _whole(head: TensorHead, flat: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """Return ``flat`` if the tensor's datatype can hold its values: integers are whole and within their range."""
    if head.datatype in _FLOATS or not flat.size:
        return flat
    limits = np.iinfo(dtype)
    # As floats the largest 64-bit integers round up to a power of two, which is still taken.
    fits = (flat >= float(limits.min)) & (flat <= float(limits.max)) & (np.trunc(flat) == flat)
    if not fits.all():
        place = int(fits.argmin())
        raise BadInferRequest(
            f"{head.place}.data: value {place} is {flat[place]:g}; {head.datatype} holds whole numbers from"
            f" {limits.min} to {limits.max}"
        )
    return flat


def _bad_row(head: TensorHead, lists: Sequence[Sequence[float]], signature: Signature) -> BadInferRequest:
    row, values = next((row, values) for row, values in enumerate(lists) if len(values) != signature.n_features)
    return BadInferRequest(
        f"{head.place}.data[{row}] has {len(values)} values; a row of model {signature.model!r} has"
        f" {signature.n_features}: {names_of(signature)}"
    )


def _bad_shape(head: TensorHead, signature: Signature) -> BadInferRequest:
    shape = list(head.shape[:_LONGEST_SHAPE])
    n_features = signature.n_features
    return BadInferRequest(
        f"{head.place}.shape is {shown(shape)}{' and more' if len(head.shape) > _LONGEST_SHAPE else ''}; model"
        f" {signature.model!r} takes [rows, {n_features}], or [{n_features}] for one row: {names_of(signature)}"
    )


def names_of(signature: Signature) -> str:
    """Return a model's features as text of a bearable length."""
    return shown(", ".join(signature.feature_names), 200)
