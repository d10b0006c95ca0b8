"""HTTP for kubelet and Prometheus: liveness, readiness and metrics, on a port of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

_log = logging.getLogger(__name__)

Check = Callable[[], str | None]
"""Returns what is wrong, or None."""


class HealthServer:
    """The three routes.

    Args:
        host: to listen on.
        port: to listen on; 0 takes a free one.
        alive: what is wrong with the process, so that it should be started anew.
        ready: what it still waits for.
        metrics: the exposition.

    """

    def __init__(self, host: str, port: int, alive: Check, ready: Check, metrics: Callable[[], bytes]) -> None:
        checks = {"/healthz": alive, "/readyz": ready}

        class Handler(BaseHTTPRequestHandler):
            """Answers one request."""

            timeout = 10

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(HTTPStatus.OK, metrics(), "text/plain; version=0.0.4; charset=utf-8")
                elif path in checks:
                    fault = checks[path]()
                    status = HTTPStatus.OK if fault is None else HTTPStatus.SERVICE_UNAVAILABLE
                    self._answer(status, f"{fault or 'ok'}\n".encode(), "text/plain; charset=utf-8")
                else:
                    self._answer(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain; charset=utf-8")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                _log.debug(format, *args)

            def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        """Serve from a thread of its own."""
        Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
