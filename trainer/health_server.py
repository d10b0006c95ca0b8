"""`/healthz` and `/metrics` of one worker process, and `--health`, which asks for them.

The answers come from a thread of their own, so that a worker whose event loop stands still says so itself; one that
cannot even run this thread does not answer, which any probe takes for the same. A database that is away makes nobody
ill: a restart would not bring it back.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from trainer.vitals import Vitals

_PATIENCE_SECONDS = 3.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class HealthServer:
    """Listens from the start of its life until the process ends.

    Args:
        host, port: where.
        vitals: what is told.
        metrics: gives the text of ``/metrics``.

    Raises:
        OSError: the port is taken or the address is not ours.

    """

    def __init__(self, host: str, port: int, vitals: Vitals, metrics: Callable[[], bytes]) -> None:
        class Handler(_Handler):
            answers = {  # noqa: RUF012 - the library makes a handler for each request, and asks for its class
                "/healthz": lambda: _health(vitals),
                "/metrics": lambda: (200, _METRICS_TYPE, metrics()),
            }

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_port

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        """Stop answering and close the port."""
        self._server.shutdown()
        self._server.server_close()


Answers = Callable[[], tuple[int, str, bytes]]


class _Handler(BaseHTTPRequestHandler):
    answers: dict[str, Answers]
    timeout = _PATIENCE_SECONDS  # a connection that sends nothing keeps a thread no longer
    server_version = "telltale-trainer"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one of our paths."""
        answer = self.answers.get(self.path.partition("?")[0])
        status, content_type, body = (404, "text/plain", b"not found\n") if answer is None else answer()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own name
        """Log nothing: a probe comes every few seconds."""


def _health(vitals: Vitals) -> tuple[int, str, bytes]:
    ailment = vitals.ailment()
    doing = vitals.doing
    told = {
        "status": "ok" if ailment is None else "ill",
        "detail": ailment,
        "last_sign_of_life_seconds": round(vitals.silent_for(), 1),
        "job": None if doing is None else doing.batch_id,
    }
    return 200 if ailment is None else 503, "application/json", json.dumps(told).encode()


def ask(host: str, ports: Iterable[int]) -> str | None:
    """Ask every port for its health; return None if all are well, or what the first that is not says."""
    for port in ports:
        connection = HTTPConnection(host, port, timeout=_PATIENCE_SECONDS)
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            told = answer.read().decode(errors="replace")
        except (OSError, HTTPException) as error:
            return f"nothing answers on port {port}: {error}"
        finally:
            connection.close()
        if answer.status != 200:
            return f"port {port}: {told}"
    return None
