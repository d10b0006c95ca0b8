"""What msgspec says of a body that it refuses, as sentences for clients: where, what came, what is expected. PURE."""

from __future__ import annotations

import re

import msgspec

from contract.errors import shown

# What decoding a stranger's bytes can raise.
REFUSALS = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_TYPES = {
    "`float`": "a number",
    "`int`": "a whole number",
    "`str`": "a string",
    "`bool`": "true or false",
    "`array`": "a list",
    "`object`": "an object",
    "`null`": "null",
}
_NOT_FINITE = re.compile(rb"-?(nan|infinity|inf)", re.IGNORECASE)
_BYTE = re.compile(r"byte (\d+)")


def misplaced(fault: msgspec.ValidationError, place: str = "") -> str:
    """Return the sentence about a value of the wrong type or range.

    Args:
        fault: what was raised.
        place: where what was decoded stands in the request; empty for the request itself.

    """
    match = _PLACE.fullmatch(str(fault))
    detail, inner = (match[1], match[2]) if match else (str(fault), "")
    for name, words in _TYPES.items():
        detail = detail.replace(name, words)
    where = f"{place}{inner}" if place else inner or "the request"
    return f"{shown(where)}: {detail[:1].lower()}{detail[1:]}"


def malformed(fault: Exception, body: bytes) -> str:
    """Return the sentence about a body that is not JSON, or other JSON than expected; ``fault`` is of REFUSALS."""
    if isinstance(fault, msgspec.ValidationError):
        return misplaced(fault)
    if isinstance(fault, RecursionError):
        return "the body is nested too deeply: a tensor's data is a list, or a list of rows"
    if isinstance(fault, UnicodeDecodeError):
        return "the body is not JSON: a string in it is not UTF-8"
    found = _BYTE.search(str(fault))
    if found is not None:
        at = int(found[1])
        word = _NOT_FINITE.match(body, at - 1) or _NOT_FINITE.match(body, at)
        if word is not None:
            return _not_finite(body, word)
    return f"the body is not JSON: {str(fault).removeprefix('JSON is malformed: ')}"


def _not_finite(body: bytes, word: re.Match[bytes]) -> str:
    """Return the sentence about a NaN or an infinity that stands, against JSON, among a tensor's values."""
    at = word.start()
    start = body.rfind(b'"data"', 0, at)
    value = f"inputs[0].data: value {body.count(b',', start, at)}" if start >= 0 else "a value"
    return f"{value} is {word[0].decode()} (byte {at}); values must be finite numbers"
