"""How many fields an infer request over gRPC has, told before protobuf makes objects of them. PURE.

A field of two bytes can become an object of a hundred: 64 MiB of empty tensors would take three gigabytes. So the
encoding (https://protobuf.dev/programming-guides/encoding/) is walked, from length to length, as far down as fields can
be many; values are not looked at. What is no message is left to protobuf, which says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from predictor.v2.errors import BadInferRequest

# A request has a dozen. Parameters and dimensions count too; a list of numbers, packed as every client has it, is one.
MOST_FIELDS = 10_000
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_GROUPS = (3, 4)
# In bits; a longer one is none, and protobuf stops there.
_LONGEST_VARINT = 70

_REQUEST = pb.ModelInferRequest.DESCRIPTOR.fields_by_name
_TENSOR = pb.ModelInferRequest.InferInputTensor.DESCRIPTOR.fields_by_name


class _Part:
    """A part of a message: which of its fields have parts, and whether each of its bytes counts as a field."""

    def __init__(self, parts: Mapping[int, _Part] | None = None, *, is_list: bool = False) -> None:
        self.parts = parts or {}
        self.is_list = is_list


_MESSAGE = _Part(
    {
        _REQUEST["inputs"].number: _Part(
            {_TENSOR["contents"].number: _Part(), _TENSOR["shape"].number: _Part(is_list=True)}
        ),
        _REQUEST["outputs"].number: _Part(),
    }
)


def check_fields(message: bytes) -> None:
    """Refuse a ``ModelInferRequest`` that has more fields than any request needs.

    Raises:
        BadInferRequest: it has more than MOST_FIELDS.

    """
    if _walk(message, 0, len(message), _MESSAGE, MOST_FIELDS) < 0:
        raise BadInferRequest(
            f"the message has more than {MOST_FIELDS} fields: a request has one tensor, and numbers in packed lists"
        )


def _walk(message: bytes, at: int, end: int, part: _Part, left: int) -> int:
    """Return how many fields may still come after those between ``at`` and ``end``; below 0 if these are too many."""
    while at < end and left >= 0:
        left -= 1
        key, at = _varint(message, at, end)
        kind = key & 7
        if kind == _LENGTH:
            size, at = _varint(message, at, end)
            inner = part.parts.get(key >> 3)
            if inner is not None:
                left = left - size if inner.is_list else _walk(message, at, min(at + size, end), inner, left)
            at += size
        elif kind == _VARINT:
            _, at = _varint(message, at, end)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        elif kind not in _GROUPS:
            return left  # no message: protobuf stops here as well
    return left


def _varint(message: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number, and where what follows it begins."""
    value = shift = 0
    while at < end and shift < _LONGEST_VARINT:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at
