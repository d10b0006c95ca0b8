"""uvicorn as the predictor runs it: on a socket that is bound already, ending in order when told to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from predictor.composition import Predictor
from predictor.errors import CannotListen
from predictor.hotpath.express import express_protocol
from predictor.security.exposure import refusal
from predictor.settings import PredictorSettings

_log = logging.getLogger(__name__)

# Longer than the idle time-out of the usual load balancers (60 s), so that they close first and no request is lost.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
_LOOK_SECONDS = 0.05


class Server(uvicorn.Server):
    """A uvicorn server that drains at the first SIGTERM or SIGINT, then stops, and ignores later signals.

    While it drains it goes on answering, and closes each connection with its answer: a client that has one open learns
    so that it must turn elsewhere before the connection is gone. It stops after ``drain_seconds``. After SIGTERM not
    earlier, though nobody may be connected: who sends it has load balancers that go on giving it new connections until
    they have heard. Ctrl-C comes from a person, who waits only as long as somebody is connected.

    uvicorn's own raises the signal again when it is done, which makes the exit status that of a killed process, and
    cuts requests off at the second Ctrl-C. The time to drain is bounded, so there is nothing to cut off.
    """

    def __init__(
        self, config: uvicorn.Config, *, on_drain: Callable[[], None], on_stop: Callable[[], None], drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._on_drain = on_drain
        self._on_stop = on_stop
        self._drain_seconds = drain_seconds
        self._is_told = False
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
        self.stop(expects_more=sig == signal.SIGTERM)

    def stop(self, *, expects_more: bool = False) -> None:
        """Begin to stop; any thread may call it, and more than once.

        Args:
            expects_more: drain for the whole time, because new connections may come although none is open.

        """
        if self._loop is None:
            self.should_exit = True
        elif not self._is_told:
            self._is_told = True
            self._loop.call_soon_threadsafe(self._drain, expects_more)

    def _drain(self, expects_more: bool) -> None:
        self._on_drain()
        self._look_again(time.monotonic() + self._drain_seconds, expects_more)

    def _look_again(self, until: float, expects_more: bool) -> None:
        """Stop if the time to drain is over, or nobody is connected and nobody will be."""
        is_needed = expects_more or bool(self.server_state.connections)
        if time.monotonic() < until and is_needed and self._loop is not None:
            self._loop.call_later(_LOOK_SECONDS, self._look_again, until, expects_more)
            return
        self._on_stop()
        self.should_exit = True


def build_server(predictor: Predictor, settings: PredictorSettings) -> Server:
    """Return the server for ``predictor``; run it with ``serve(sockets=[...])``."""
    config = uvicorn.Config(
        predictor.app,
        loop="auto",  # uvloop where it is installed
        http=express_protocol(predictor.express, settings.connection_limits, predictor.early.metrics.security),
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
    server = Server(
        config,
        on_drain=predictor.early.frame.drain,
        on_stop=predictor.stopping.set,
        drain_seconds=settings.drain_seconds,
    )
    predictor.on_failure = server.stop
    return server


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
        raise CannotListen(f"the inherited socket: {refusal(address[0])}")
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
