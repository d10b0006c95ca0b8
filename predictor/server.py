"""uvicorn as the predictor runs it: on a socket that is bound already, ending in order when told to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from predictor.errors import CannotListen
from predictor.settings import PredictorSettings

_log = logging.getLogger(__name__)

# Longer than the idle time-out of the usual load balancers (60 s), so that they close first and no request is lost.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048


class Server(uvicorn.Server):
    """A uvicorn server that calls ``on_stop`` at the first SIGTERM or SIGINT, drains, and ignores later ones.

    uvicorn's own raises the signal again when it is done, which makes the exit status that of a killed process, and
    cuts requests off at the second Ctrl-C. The time to drain is bounded, so there is nothing to cut off.
    """

    def __init__(self, config: uvicorn.Config, *, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals over for good: one that comes while the process ends must not end it with a traceback."""
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():  # Python sets handlers nowhere else
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the shape of a signal handler
        """Begin to stop."""
        self.stop()

    def stop(self) -> None:
        """Begin to stop; any thread may call it, and more than once."""
        if not self.should_exit and self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_stop)
        self.should_exit = True


def build_server(app: FastAPI, settings: PredictorSettings, *, on_stop: Callable[[], None]) -> Server:
    """Return the server for ``app``; run it with ``serve(sockets=[...])``."""
    config = uvicorn.Config(
        app,
        loop="auto",  # uvloop where it is installed
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
        h11_max_incomplete_event_size=64 * 1024,
    )
    return Server(config, on_stop=on_stop)


def listening_socket(settings: PredictorSettings, *, fd: int | None) -> socket.socket:
    """Return the socket to serve on: the inherited one of number ``fd``, or a new one on the settings' host and port.

    Raises:
        CannotListen: the address is taken, is none of this machine, or may not be listened on.

    """
    if fd is None:
        return _bound(settings.host, settings.port)
    try:
        inherited = socket.socket(fileno=fd)
        address = inherited.getsockname()
    except OSError as error:
        raise CannotListen(f"file descriptor {fd} is no socket to listen on: {error.strerror}") from error
    if inherited.family in (socket.AF_INET, socket.AF_INET6) and not settings.may_listen_on(address[0]):
        raise CannotListen(f"the inherited socket listens on {address[0]}, which needs TELLTALE_ALLOW_ANONYMOUS=true")
    return inherited


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {host}:{port}: {error.strerror}; stop what uses it, or set TELLTALE_PORT to another port"
        ) from error
    _log.info("listening on http://%s:%d", host, bound.getsockname()[1])
    return bound
