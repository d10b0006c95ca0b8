"""A request's wish to speak another protocol from now on, taken out of its head. PURE.

A server may ignore it (RFC 9110, 7.8), and this one always does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_WISHES = (b"upgrade", b"http2-settings")


def without_upgrade(method: bytes, url: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a request as it would be without the wish; header names are in lower case."""
    request_line = b" ".join([method, url, b"HTTP/" + version.encode()])
    return b"\r\n".join([request_line, *_fields(headers), b"", b""])


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    for name, value in headers:
        if name == b"connection":
            options = [option for option in value.split(b",") if option.strip().lower() not in _WISHES]
            if options:
                yield name + b": " + b",".join(options)
        elif name not in _WISHES:
            yield name + b": " + value
