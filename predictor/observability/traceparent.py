"""The header ``traceparent`` of W3C Trace Context, read strictly and in a fraction of a microsecond. PURE.

https://www.w3.org/TR/trace-context-2/#traceparent-header: ``00-<32 hex>-<16 hex>-<2 hex>``, all in lower case. Of a
later version than 00 the same beginning is read, and more may follow a hyphen. A header that breaks the rules counts as
none.
"""

from __future__ import annotations

from typing import NamedTuple

_LENGTH = 55
_HYPHEN = 0x2D
_HEX = b"0123456789abcdef"
_NO_TRACE = b"0" * 32
_NO_PARENT = b"0" * 16
# By the last hexadecimal digit of the flags, whose lowest bit says that the caller sampled.
_SAMPLED = frozenset(b"13579bdf")


class Parent(NamedTuple):
    """The caller's span."""

    trace_id: int
    span_id: int
    flags: int


def says_sampled(header: bytes) -> bool | None:
    """Tell whether the caller sampled its trace; None if the header is not valid."""
    if len(header) != _LENGTH:
        if len(header) < _LENGTH or header[:2] == b"00" or header[_LENGTH] != _HYPHEN:
            return None
        header = header[:_LENGTH]
    if not (
        header[2] == header[35] == header[52] == _HYPHEN
        and header.translate(None, _HEX) == b"---"  # nothing but the three hyphens and hexadecimal digits
        and header[3:35] != _NO_TRACE
        and header[36:52] != _NO_PARENT
        and header[:2] != b"ff"
    ):
        return None
    return header[54] in _SAMPLED


def parent_of(header: bytes) -> Parent:
    """Return the span that a valid header names."""
    return Parent(int(header[3:35], 16), int(header[36:52], 16), int(header[53:55], 16))


def formatted(trace_id: int, span_id: int, flags: int) -> str:
    """Return a header."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"
