"""The two headers that say how a body of the protocol is to be read; its Content-Type is not one of them. PURE."""

from __future__ import annotations

from contract.errors import shown
from predictor.errors import UnsupportedMedia
from predictor.hotpath.exchange import Headers
from predictor.v2.errors import BadInferRequest

HEADER_LENGTH = "Inference-Header-Content-Length"
_LENGTH_NAME = HEADER_LENGTH.lower().encode()
_LONGEST_LENGTH = 12


def json_size(headers: Headers) -> int | None:
    """Return the length of the JSON where the request says that binary data follows; None where all of it is JSON.

    Raises:
        UnsupportedMedia: the body is compressed.
        BadInferRequest: the length is none.

    """
    size = None
    for name, value in headers:
        if name == _LENGTH_NAME:
            if not value.isdigit() or len(value) > _LONGEST_LENGTH:
                raise BadInferRequest(f"{HEADER_LENGTH} is {shown(value.decode('latin-1'))!r}; it is a number of bytes")
            size = int(value)
        elif name == b"content-encoding":
            _refuse_compression(value)
    return size


def refuse_compression(headers: Headers) -> None:
    """Refuse a body that is compressed.

    Raises:
        UnsupportedMedia: it is.

    """
    for name, value in headers:
        if name == b"content-encoding":
            _refuse_compression(value)


def _refuse_compression(encoding: bytes) -> None:
    if encoding.strip().lower() not in (b"", b"identity"):
        raise UnsupportedMedia(f"Content-Encoding is {shown(encoding.decode('latin-1'))!r}: send it uncompressed")
