"""A collector on loopback: takes OTLP over HTTP as OpenTelemetry's does, and keeps the spans."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """What was received.

    Args:
        endpoint: its URL for traces.
        status: what it answers.
        attempts: how many requests came.
        headers: of the requests, by names in lower case.
        spans: all that came.
        resources: the attributes of the processes that sent them.
        answering: set when it answers at all.

    """

    endpoint: str = ""
    status: int = 200
    attempts: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    answering: threading.Event = field(default_factory=threading.Event)

    def named(self, name: str) -> list[Span]:
        """Return the spans of a name."""
        return [span for span in self.spans if span.name == name]

    def receive(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Keep a request's spans; returns the answer's status."""
        self.attempts += 1
        self.answering.wait()
        if self.status == 200:
            assert path == "/v1/traces"
            assert headers["content-type"] == "application/x-protobuf"
            request = ExportTraceServiceRequest.FromString(body)
            self.headers.append(headers)
            for resource_spans in request.resource_spans:
                self.resources.append(attributes(resource_spans.resource))
                for scope_spans in resource_spans.scope_spans:
                    self.spans.extend(scope_spans.spans)
        return self.status


def attributes(of: Any) -> dict[str, Any]:
    """Return the attributes of a span or resource."""
    return {pair.key: _value(pair.value) for pair in of.attributes}


@contextmanager
def collecting(*, status: int = 200, answers: bool = True) -> Iterator[Collector]:
    """Run a collector while the block runs."""
    collector = Collector(status=status)
    if answers:
        collector.answering.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = collector.receive(self.path, {name.lower(): text for name, text in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield collector
    finally:
        collector.answering.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")
