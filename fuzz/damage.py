"""Damaging valid requests: their JSON as a tree, their bytes as bytes, their headers by what breaks parsers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from fuzz.cases import HEADER_LENGTH, Case, Headers

_MOST_PLACES = 300
# Text that stands in the JSON as it is, so that what no encoder writes can be sent too.
_VERBATIM = "\ue000"
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**40, -(2**63), 0.5, 1e308, 3.5e38, 5e-324, "", "x", "0", "NaN",
    "FP64", "FP16", "BYTES", "BOOL", "INT8", [], {}, [[]], [{}], [None], [[1], [2, 3]], [1, [2]], {"a": 1},
    "a" * 300, "\x00", "\u202e", "../..", "default", "vans", "20240101000000", [0] * 4, [[0] * 4] * 2, -0.0,
    *(_VERBATIM + text for text in (
        "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 5000, "0" * 50 + "1", "1.", ".5", "+1", "0x10",
        '"\\ud800"', '"\\udc00x"', '"\\u0000"', "'x'", "[" * 2000, "[" * 500 + "]" * 500,
        '{"a":' * 500 + "1" + "}" * 500,
        "1,", "", "tru", "-", "1e5", "1E+2", "1" + "0" * 400 + "e-400", '{"a":1,"a":2}', "/*x*/1", "\t1\n",
    )),
)  # fmt: skip
_BYTES = (
    b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xc0\x80", b"\xed\xa0\x80",
    b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\r\n", b"\n", b"ARROW1", b"\x00" * 64,
)  # fmt: skip
_HEADERS = {
    "Content-Type": (
        "application/json", "Application/JSON ; charset=utf-8", "application/json; charset=utf-16", "text/plain", "",
        "application/octet-stream", "application/x-ndjson", "application/vnd.apache.arrow.stream", "x" * 500, "\xff",
    ),
    HEADER_LENGTH: ("0", "1", "-1", "", "x", "1e3", "\xb2", "9" * 12, "9" * 13, "+5", " 7 ", "10", "200"),
    "Content-Encoding": ("", "gzip", "identity", "Identity", "br, gzip", "\xe9"),
    "Accept": ("application/json", "*/*;q=x", "\xff"),
    "X-Request-Id": ("a", "x" * 128, "x" * 129, "\xe9", 'a"b', "{}", "\t"),
    "Prefer": ("respond-async", ";;;", "\xff"),
    "Idempotency-Key": ("k", "x" * 255, "x" * 256, "\xff"),
    "traceparent": ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-0-0-01", "\xff", "ff-" + "f" * 60),
    "tracestate": ("a=b,,c", "\xff" * 10, "=" * 600),
    "Expect": ("100-continue",),
}  # fmt: skip
_SEGMENTS = (
    "vans", "nobody", "", ".", "..", "%00", "%2F", "%ff", "a" * 300, "versions", "infer", "20240101000000", "1", "-1",
    "20241340000000", "ready", "%E2%80%AE", "a:b", "default%20", "DEFAULT", "%",
)  # fmt: skip


_KINDS = st.sampled_from(("bytes", "header", "path", *["json"] * 5))
_TIMES = st.integers(1, 3)
_LENGTHS = st.sampled_from((1, 1, 1, 2, 4, 8, 64, 1000))
_BYTE_OPERATIONS = st.sampled_from(("flip", "cut", "double", "insert", "replace", "truncate"))
_TREE_OPERATIONS = st.sampled_from(("replace", "replace", "replace", "drop", "double", "rename", "wrap"))
_NEW_VALUES = st.sampled_from(_VALUES)
_NEW_BYTES = st.sampled_from(_BYTES) | st.binary(max_size=8)
_NEW_NAMES = st.sampled_from(("x", "", "data", "id", "parameters", "contents", "shape", "model"))
_BITS = st.integers(0, 7)
_NEW_HEADERS = st.sampled_from([(name, value) for name, values in _HEADERS.items() for value in values])
_HEADER_OPERATIONS = st.sampled_from(("set", "set", "add", "drop"))
_PATH_OPERATIONS = st.sampled_from(("replace", "insert", "drop", "query"))
_QUERIES = st.sampled_from(("?", "?a=b", "?%ff", "?" + "x" * 2000, "//"))
_NEW_SEGMENTS = st.sampled_from(_SEGMENTS)


@st.composite
def damaged(draw: st.DrawFn, case: Case) -> Case:
    """Draw a damaged ``case``: one to three things about it are changed."""
    for _ in range(draw(_TIMES)):
        kind = draw(_KINDS)
        if kind == "json" and case.document is not None:
            case = replace(case, document=_changed_tree(draw, case.document))
        elif kind == "header":
            case = replace(case, headers=_changed_headers(draw, case.headers))
        elif kind == "path":
            case = replace(case, path=changed_path(draw, case.path))
        else:
            case = replace(case, document=None, tail=changed_bytes(draw, _plain_body(case)))
    return replace(case, document=None, tail=_plain_body(case), headers=_fitted(case), expected=None)


def changed_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw ``data`` with a piece cut, doubled, flipped, inserted or replaced."""
    start = draw(st.integers(0, max(0, len(data) - 1)))
    piece = data[start : start + draw(_LENGTHS)]
    operation = draw(_BYTE_OPERATIONS)
    if operation == "flip":
        bit = draw(_BITS)
        return data[:start] + bytes(byte ^ (1 << bit) for byte in data[start : start + 1]) + data[start + 1 :]
    if operation == "truncate":
        return data[:start]
    new = {"cut": b"", "double": piece * 2}.get(operation)
    if new is None:
        new = draw(_NEW_BYTES)
    return data[:start] + new + data[start + (0 if operation == "insert" else len(piece)) :]


def dump(document: Any) -> bytes:
    """Return a document as JSON in which verbatim texts stand as they are."""
    parts: list[str] = []
    text = json.dumps(document)
    mark = json.dumps(_VERBATIM)[:-1]
    while mark in text:
        before, _, rest = text.partition(mark)
        value, end = json.JSONDecoder().raw_decode(f'"{rest}')
        parts += [before, str(value)]
        text = rest[end - 1 :]
    return "".join([*parts, text]).encode("utf-8", "surrogatepass")


def _plain_body(case: Case) -> bytes:
    if case.document is None:
        return case.tail
    if case.form == "score-ndjson" and isinstance(case.document, list):
        return b"\n".join(map(dump, case.document))
    return dump(case.document) + case.tail


def _fitted(case: Case) -> list[tuple[str, str]]:
    """Return the headers, in which the length of the JSON is right again if only the JSON was changed."""
    if case.form != "v2-binary" or case.document is None:
        return list(case.headers)
    right = str(len(dump(case.document)))
    changed = set(_HEADERS[HEADER_LENGTH])
    return [(name, right if name == HEADER_LENGTH and value not in changed else value) for name, value in case.headers]


def _changed_tree(draw: st.DrawFn, document: Any) -> Any:
    """Draw a document with one value replaced, left out, doubled or given another name."""
    places = list(_places(document))
    holder_path, key = places[draw(st.integers(0, len(places) - 1))]
    changed = json.loads(json.dumps(document))
    if key is None:
        return draw(_NEW_VALUES)
    holder = changed
    for step in holder_path:
        holder = holder[step]
    operation = draw(_TREE_OPERATIONS)
    value = holder[key]
    if operation == "replace":
        holder[key] = draw(_NEW_VALUES)
    elif operation == "wrap":
        holder[key] = [value]
    elif operation == "double" and isinstance(holder, list):
        holder.insert(key, value)
    else:
        del holder[key]
        if operation != "drop" and isinstance(holder, dict):
            holder[draw(_NEW_NAMES)] = value
    return changed


def _places(document: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the path of a container and a key in it for every value, up to a bound; first the whole, with key None."""
    yield (), None
    found = 0
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), document)]
    while waiting and found < _MOST_PLACES:
        path, holder = waiting.pop(0)
        entries = holder.items() if isinstance(holder, dict) else enumerate(holder) if isinstance(holder, list) else ()
        for key, value in entries:
            found += 1
            yield path, key
            if found >= _MOST_PLACES:
                return
            waiting.append(((*path, key), value))


def _changed_headers(draw: st.DrawFn, headers: Headers) -> list[tuple[str, str]]:
    name, value = draw(_NEW_HEADERS)
    operation = draw(_HEADER_OPERATIONS)
    kept = [pair for pair in headers if operation == "add" or pair[0] != name]
    return kept if operation == "drop" else [*kept, (name, value)]


def changed_path(draw: st.DrawFn, path: str) -> str:
    """Draw ``path`` with a segment replaced, left out or put in, or something behind it."""
    segments = path.split("/")
    place = draw(st.integers(1, len(segments) - 1))
    operation = draw(_PATH_OPERATIONS)
    if operation == "query":
        return path + draw(_QUERIES)
    new = draw(_NEW_SEGMENTS)
    segments[place : place + (operation != "insert")] = [] if operation == "drop" else [new]
    return "/".join(segments) or "/"
