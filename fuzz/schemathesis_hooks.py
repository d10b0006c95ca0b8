"""What schemathesis is told about media types that it does not know; it loads this file by the path of it."""

from __future__ import annotations

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/ndjson", "application/jsonl")
def lines(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Return a body of lines: text as it is, anything else as one line of JSON."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else json.dumps(value).encode()
