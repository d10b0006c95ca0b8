"""What a request of the soak run is: its bytes, and what it must be answered. PURE.

A request may hold marks that are made anew each time it is sent, in bytes of the same length: a number that was never
used before, or a token of a subject that nobody has seen. What would be kept for each such name piles up and is seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

# Replaced by a number of as many digits, another one each time.
NUMBER = b"@" * 12
# Replaced by the token of a new subject; see `soak.tokens`.
TOKEN_MARK = b"#"
ABORTED = 0


@dataclass(frozen=True)
class Kind:
    """A kind of request over HTTP.

    Args:
        name: for the table.
        request: the whole request.
        status: of its answer; :data:`ABORTED` for one that the client does not wait for.
        weight: how often it comes, against the others of its group.
        rows: how many records it has scored.
        logged: the status that the access log has for it; None where it gets no line there, because it never became a
            request. By default that of the answer.

    """

    name: str
    request: bytes
    status: int
    weight: float = 1.0
    rows: int = 0
    logged: int | None = -1

    @property
    def log_status(self) -> int | None:
        """The status in the access log."""
        return self.status if self.logged == -1 else self.logged


def http(
    method: str, path: str, body: bytes = b"", *, token: str | None = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """Return a whole request; its body is JSON unless ``headers`` say otherwise, and has a Content-Length."""
    fields = {"Host": "soak"}
    if body:
        fields["Content-Type"] = "application/json"
    if token is not None:
        fields["Authorization"] = f"Bearer {token}"
    fields |= headers or {}
    if body and "Transfer-Encoding" not in fields:
        fields.setdefault("Content-Length", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes, size: int) -> bytes:
    """Return a body as chunks of at most ``size`` bytes, for `Transfer-Encoding: chunked`."""
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def document(value: object) -> bytes:
    """Return JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()
