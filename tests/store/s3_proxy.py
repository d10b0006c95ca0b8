"""A proxy in front of an S3 server that does, on demand, what a network and a tired server do."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Fault(Enum):
    """What the proxy does to one exchange."""

    ANSWER_LOST = auto()  # the server does it, and the connection breaks before its answer
    REQUEST_DAMAGED = auto()  # a bit of the body flips on the way there
    ANSWER_DAMAGED = auto()  # a bit of the body flips on the way back
    ANSWER_CUT = auto()  # the connection breaks in the middle of the answer's body
    ANSWER_STALLED = auto()  # the body of the answer does not come, its head does
    BUSY = auto()  # 503 in the server's stead
    BROKEN = auto()  # 500 in the server's stead
    RACE_LOST = auto()  # 409 in the server's stead
    SILENCE = auto()  # no answer until the proxy stops


_ANSWERS = {
    Fault.BUSY: (503, "SlowDown"),
    Fault.BROKEN: (500, "InternalError"),
    Fault.RACE_LOST: (409, "ConditionalRequestConflict"),
}


@dataclass
class S3Proxy:
    """What passes, and what is to go wrong: each fault once, with the first request that its method and query fit."""

    server_port: int
    port: int = 0
    passed: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    # Called with each request's method before it is passed on: what happens at the server meanwhile.
    meanwhile: Callable[[str], object] = lambda _method: None
    _faults: list[tuple[str, str, Fault]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def expect(self, method: str, fault: Fault, *, part_of_path: str = "", times: int = 1) -> None:
        """Let ``fault`` befall the next requests that fit."""
        self._faults += [(method, part_of_path, fault)] * times

    def forget(self) -> None:
        """Let nothing more go wrong."""
        self._faults = []

    def fault_for(self, method: str, path: str) -> Fault | None:
        self.passed.append(f"{method} {path}")
        self.meanwhile(method)
        for number, (its_method, part, fault) in enumerate(self._faults):
            if its_method == method and part in path:
                del self._faults[number]
                return fault
        return None


@contextmanager
def s3_proxy(server_port: int) -> Iterator[S3Proxy]:
    """Yield a proxy on a free port for the server on ``server_port``."""
    proxy = S3Proxy(server_port)

    class Handler(_Handler):
        ours = proxy

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        proxy.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.stopped.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ours: S3Proxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.ours.fault_for(self.command, self.path)
        if fault is Fault.SILENCE:
            self.ours.stopped.wait()
            self.close_connection = True
        elif fault in _ANSWERS:
            status, code = _ANSWERS[fault]
            self._answer(status, [], f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode())
        else:
            self._forward(_flipped(body) if fault is Fault.REQUEST_DAMAGED else body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815 - the names that http.server looks for

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.ours.server_port, timeout=30)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "expect":  # answered already
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if fault is Fault.ANSWER_LOST:
            self.close_connection = True
            return
        self._answer(answer.status, answer.getheaders(), content, fault)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, fault: Fault | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault is Fault.ANSWER_STALLED:
            self.ours.stopped.wait()
        if fault is Fault.ANSWER_CUT:
            content, self.close_connection = content[: len(content) // 2], True
        self.wfile.write(_flipped(content) if fault is Fault.ANSWER_DAMAGED else content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        """Say nothing."""


def _flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])
