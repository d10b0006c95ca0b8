"""`/healthz`, `/readyz` and `/metrics`, from threads of their own: they answer although all else may hang.

Both probes answer JSON which says why, in `detail`. They say nothing that is worth a secret: no token is asked for.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

_log = logging.getLogger(__name__)

_JSON = "application/json"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Health:
    """What a probe is told.

    Args:
        ailment: what is wrong; None where nothing is.
        facts: what else a person may want to know.

    """

    ailment: str | None
    facts: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[], Health]
Answer = tuple[HTTPStatus, str, bytes]


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
        routes: dict[str, Callable[[], Answer]] = {
            "/healthz": lambda: _told(alive()),
            "/readyz": lambda: _told(ready()),
            "/metrics": lambda: (HTTPStatus.OK, _METRICS, metrics()),
        }

        class Handler(_Handler):
            """Knows the routes."""

            def answer(self, path: str) -> Answer:
                route = routes.get(path)
                return _absent(routes) if route is None else route()

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


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = 10
    server_version, sys_version = "telltale-registry", ""
    error_content_type = _JSON
    error_message_format = '{"status": "error", "detail": "%(message)s"}\n'

    def answer(self, path: str) -> Answer:
        """Return the answer to a GET of a path."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer, with a body."""
        self.wfile.write(self._answered())

    def do_HEAD(self) -> None:
        """Answer the same without it."""
        self._answered()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing: a probe comes every few seconds."""

    def _answered(self) -> bytes:
        status, kind, body = self.answer(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body


def _told(health: Health) -> Answer:
    status = HTTPStatus.OK if health.ailment is None else HTTPStatus.SERVICE_UNAVAILABLE
    said = {"status": "ok" if health.ailment is None else "unavailable", "detail": health.ailment} | dict(health.facts)
    return status, _JSON, json.dumps(said).encode() + b"\n"


def _absent(routes: Mapping[str, object]) -> Answer:
    said = {"status": "error", "detail": f"not found; there are {', '.join(routes)}"}
    return HTTPStatus.NOT_FOUND, _JSON, json.dumps(said).encode() + b"\n"
