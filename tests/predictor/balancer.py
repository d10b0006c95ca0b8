"""A TCP balancer in this process: it gives each new connection to one of its endpoints, and looks into none.

It knows as much as kube-proxy: which endpoints there are. Connections that were given stay where they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """One process behind the balancer: its ports on 127.0.0.1, in the order of the balancer's own."""

    ports: tuple[int, ...]


class Balancer:
    """Listens on as many ports of its own as an endpoint has; methods may be called from any thread."""

    def __init__(self) -> None:
        self.ports: tuple[int, ...] = ()
        self._endpoints: tuple[Endpoint, ...] = ()
        self._turns = itertools.count()
        self._connections: set[asyncio.Task[None]] = set()

    def add(self, endpoint: Endpoint) -> None:
        """Give new connections to ``endpoint`` too."""
        self._endpoints = (*self._endpoints, endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        """Give no more new connections to ``endpoint``."""
        self._endpoints = tuple(one for one in self._endpoints if one != endpoint)

    async def run(self, count: int, started: threading.Event, stopping: asyncio.Event) -> None:
        """Balance ``count`` ports until told to stop."""
        servers = [await asyncio.start_server(self._taker(place), "127.0.0.1", 0) for place in range(count)]
        self.ports = tuple(server.sockets[0].getsockname()[1] for server in servers)
        started.set()
        await stopping.wait()
        for server in servers:
            server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _taker(self, place: int) -> asyncio.streams._ClientConnectedCallback:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = asyncio.ensure_future(self._pass_on(place, reader, writer))
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)

        return take

    async def _pass_on(self, place: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoints = self._endpoints
        endpoint = endpoints[next(self._turns) % len(endpoints)]
        with contextlib.closing(writer):
            try:
                behind, to_behind = await asyncio.open_connection("127.0.0.1", endpoint.ports[place])
            except OSError:
                return  # the client sees what it would see: a connection that ends
            with contextlib.closing(to_behind):
                await asyncio.gather(_copy(reader, to_behind), _copy(behind, writer))


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(256 * 1024):
            to.write(data)
            await to.drain()
    with contextlib.suppress(OSError, RuntimeError):
        to.write_eof()


@contextmanager
def balanced(count: int) -> Iterator[Balancer]:
    """Run a balancer of ``count`` ports in a thread while the block runs."""
    balancer = Balancer()
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(balancer.run(count, started, stopping),))
    thread.start()
    assert started.wait(10)
    try:
        yield balancer
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()
