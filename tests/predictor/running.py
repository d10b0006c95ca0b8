"""A predictor that really listens, in a thread, and the client that talks to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from predictor.composition import Predictor, build
from predictor.server import Server, build_server, listening_socket
from predictor.settings import PredictorSettings


@dataclass(frozen=True)
class Running:
    """A running predictor."""

    client: httpx.Client
    predictor: Predictor
    server: Server
    port: int


@contextmanager
def running(database_url: str | None, objects: Path | str, **changes: Any) -> Iterator[Running]:
    """Run a predictor on a free port while the block runs."""
    values = {"port": 0, "grpc_port": 0, "follow_seconds": 0.1, "drain_seconds": 0, "access_log": "off"} | changes
    settings = PredictorSettings(database_url=database_url, object_store=str(objects), **values)
    predictor = build(settings)
    listening = listening_socket(settings, fd=None)
    port = listening.getsockname()[1]
    server = build_server(predictor, settings)
    # Not server.run: uvloop's event loop policy belongs to the process, and a test's server shares it.
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        # The socket listens already, so the first request waits for the application and nothing polls.
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Running(client, predictor, server, port)
    finally:
        server.stop()
        thread.join()
