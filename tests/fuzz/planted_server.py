"""A server with one fault, which it shows to a body with an exclamation mark in it, and to GET /planted.

python -m tests.fuzz.planted_server 500|crash|hang|freeze|traceback|nameless|none
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

OPENAPI = {
    "openapi": "3.1.0",
    "info": {"title": "planted", "version": "1"},
    "paths": {"/planted": {"get": {"responses": {"400": {"description": "no"}}}}},
}


def main(fault: str) -> None:
    """Serve until the process is ended."""
    asyncio.run(_serve(fault, int(os.environ["TELLTALE_PORT"])))


async def _serve(fault: str, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await _answer(fault, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    await server.serve_forever()


async def _answer(fault: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, path, _ = head.split(" ", 2)
    lengths = [line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("content-length: ")]
    body = await reader.readexactly(int(lengths[0]) if lengths else 0)
    status = 400
    if path in ("/health/ready", "/healthz", "/openapi.json"):
        status = 200
    elif b"!" in body or path.startswith("/planted"):
        status = await _fault(fault)
    told = {"method": method, "route": path, "status": status}
    _log(level="info", logger="predictor.access", message=f"{method} {path} {status}", request_id="r", **told)
    document = OPENAPI if path == "/openapi.json" else {"status": status, "request_id": "r"}
    kind = "application/problem+json" if status >= 400 else "application/json"
    sent = json.dumps(document).encode()
    lines = (f"HTTP/1.1 {status} X", f"Content-Type: {kind}", "X-Request-Id: r", f"Content-Length: {len(sent)}", "", "")
    writer.write("\r\n".join(lines).encode() + sent)
    await writer.drain()


async def _fault(fault: str) -> int:
    if fault == "crash":
        os.abort()
    if fault == "hang":
        await asyncio.Event().wait()
    if fault == "freeze":
        time.sleep(3600)  # noqa: ASYNC251 - that is the fault
    if fault == "traceback":
        trace = 'Traceback (most recent call last):\n  File "planted.py", line 7, in f\nKeyError: 1'
        _log(message="failed", request_id="r", level="error", logger="planted", exc_info=trace)
    if fault == "nameless":
        _log(message="about whom?", level="warning", logger="planted")
    return 500 if fault == "500" else 400


def _log(**line: object) -> None:
    sys.stderr.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main(sys.argv[1])
