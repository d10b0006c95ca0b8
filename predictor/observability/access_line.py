"""A line of the access log: its fields in their order, and how it stays one line of JSON of bounded length. PURE."""

from __future__ import annotations

import msgspec

LOGGER = "predictor.access"
LONGEST_PATH = 512
LONGEST_METHOD = 32
# Of a line that is too long all the same, because control characters take six bytes each.
_SHORTENED_PATH = 64
_SHORTENED_ID = 128


class Line(msgspec.Struct, gc=False, omit_defaults=True):
    """A line, in the order in which its fields are written."""

    time: str
    level: str
    logger: str
    message: str
    request_id: str
    method: str
    path: str
    route: str
    status: int
    duration_ms: float
    bytes: int
    client: str | None
    trace_id: str | None = None
    span_id: str | None = None


class Notice(msgspec.Struct, gc=False):
    """A line of the log about itself."""

    time: str
    level: str
    logger: str
    message: str


def cut(text: str, length: int) -> str:
    """Return the beginning of a text that is too long, marked as such."""
    return text if len(text) <= length else f"{text[:length]}…"


def without_surrogates(line: Line) -> Line:
    """Return the line with question marks for what UTF-8 cannot hold."""
    texts = {name: _plain(getattr(line, name)) for name in ("message", "request_id", "method", "path")}
    return msgspec.structs.replace(line, **texts)


def shortened(line: Line) -> Line:
    """Return the line with so little of what the client sent that it is short whatever that holds."""
    path = cut(_plain(line.path), _SHORTENED_PATH)
    method = _plain(line.method)
    return msgspec.structs.replace(
        line,
        request_id=cut(_plain(line.request_id), _SHORTENED_ID),
        method=method,
        path=path,
        message=f"{method} {path} {line.status}",
    )


def _plain(text: str) -> str:
    return text.encode(errors="replace").decode()
