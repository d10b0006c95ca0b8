"""A steady load on `/score`, timed from when each request was due, in a process of its own.

Requests are due at fixed times whether or not earlier ones have been answered, and a late start counts as latency; so a
server that stands still for a moment cannot hide it.

`python -m benchmarks.steady_load URL RATE SECONDS MODEL` prints one JSON object: latencies in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

_CONNECTIONS = 16


async def load(url: str, rate: float, seconds: float, body: bytes) -> list[tuple[float, float]]:
    """Return (due time, latency) of each request, in seconds, the due time from the load's start."""
    parts = urlsplit(url)
    request = (
        f"POST /score HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    due: asyncio.Queue[float | None] = asyncio.Queue()
    latencies: list[tuple[float, float]] = []
    start = time.perf_counter()
    workers = [
        asyncio.create_task(_connection(str(parts.hostname), int(parts.port or 80), request, due, latencies, start))
        for _ in range(_CONNECTIONS)
    ]
    for number in range(int(rate * seconds)):
        at = number / rate
        await asyncio.sleep(max(0.0, start + at - time.perf_counter()))
        due.put_nowait(at)
    for _ in workers:
        due.put_nowait(None)
    await asyncio.gather(*workers)
    return sorted(latencies)


async def _connection(
    host: str,
    port: int,
    request: bytes,
    due: asyncio.Queue[float | None],
    latencies: list[tuple[float, float]],
    start: float,
) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while (at := await due.get()) is not None:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        latencies.append((at, time.perf_counter() - start - at))
    writer.close()


def main(arguments: list[str]) -> None:
    """Run the load and print its latencies."""
    url, rate, seconds, model = arguments
    record = {"model": model, "vehicle_id": "VH-1", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [0.1] * 8}
    result = asyncio.run(load(url, float(rate), float(seconds), json.dumps(record).encode()))
    json.dump({"due_s": [d for d, _ in result], "latency_ms": [1000 * t for _, t in result]}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
