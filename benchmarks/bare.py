"""The floor: what a Python ASGI server costs before it scores anything. `python -m benchmarks.bare PORT ANSWER`.

It reads the body, decodes the record with msgspec into a struct, and answers the bytes ANSWER, which are as long as a
real answer. uvicorn runs it with the predictor's options (uvloop, httptools, no access log) but its own HTTP protocol:
the predictor's answers small requests without ASGI, which is part of what is compared. It does nothing else on purpose:
no routing, no checks, no errors.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import msgspec
import uvicorn


class Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One record, as `POST /score` takes it."""

    vehicle_id: str
    timestamp: datetime
    feature_vector: list[float] | None = None
    features: dict[str, float] | None = None
    model: str = "default"
    model_version: str | None = None


class Bare:
    """The application.

    Args:
        answer: the body of every answer.

    """

    def __init__(self, answer: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        self._start = {"type": "http.response.start", "status": 200, "headers": headers}
        self._body = {"type": "http.response.body", "body": answer}
        self._decode = msgspec.json.Decoder(Record).decode

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ARG002 - ASGI's shape
        """Answer a request."""
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        self._decode(body)
        await send(self._start)
        await send(self._body)


def config(answer: bytes, port: int) -> uvicorn.Config:
    """Return the server's options: those of :mod:`predictor.server`, with uvicorn's own protocol and no lifespan."""
    return uvicorn.Config(
        Bare(answer),
        host="127.0.0.1",
        port=port,
        loop="auto",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=75,
    )


def main(arguments: list[str]) -> None:
    """Serve until a signal comes."""
    port, answer = arguments
    uvicorn.Server(config(answer.encode(), int(port))).run()


if __name__ == "__main__":
    main(sys.argv[1:])
