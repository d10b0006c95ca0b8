"""A stand-in for Prometheus: one number for each ServedModel, over the real query API."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs


class QueryServer:
    """Answers every query that names a ServedModel (its revisions begin with its name and a hyphen)."""

    def __init__(self) -> None:
        answers: dict[str, float | None] = {}
        self.answers = answers
        self.away: set[str] = set()
        away = self.away

        class Handler(BaseHTTPRequestHandler):
            """Answers one query."""

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                query = form["query"][0]
                name = next((name for name in answers if f" {name}-" in f" {query}"), None)
                if name in away:
                    self._send(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "error", "error": "away"})
                    return
                value = None if name is None else answers[name]
                result = [] if value is None else [{"metric": {}, "value": [0, str(value)]}]
                self._send(HTTPStatus.OK, {"status": "success", "data": {"resultType": "vector", "result": result}})

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Say nothing."""

            def _send(self, status: HTTPStatus, document: object) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> QueryServer:
        Thread(target=self._server.serve_forever, name="queries", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
