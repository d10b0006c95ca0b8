"""Reading bodies over a real connection, where clients misbehave."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.predictor.running import Running, running

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server without stores: bodies are refused before any is asked."""
    with running(NOWHERE, tmp_path_factory.mktemp("alone"), max_body_bytes=4096) as server:
        yield server


def exchange(server: Running, request: bytes) -> tuple[bytes, dict[str, object]]:
    """Send raw bytes and return the answer's head and its document, read until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, json.loads(body)


HEAD = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_a_length_over_the_limit_is_refused_before_the_body_comes(alone: Running) -> None:
    """The answer comes at once, to a client that has sent nothing but the head."""
    head, problem = exchange(alone, HEAD + b"Content-Length: 99999999999\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in head
    assert "99999999999 bytes; the limit is 4096" in str(problem["detail"])


def test_a_client_that_asks_first_is_told_before_it_sends(alone: Running) -> None:
    """Expect: 100-continue gets the 413 instead of a 100."""
    head, _ = exchange(alone, HEAD + b"Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")


def test_a_body_at_the_limit_is_read(alone: Running) -> None:
    """The limit itself is allowed; what is in the body is another matter."""
    answer = alone.client.post("/score", content=b"{" * 4096, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    answer = alone.client.post("/score", content=b"{" * 4097, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/score", "/ingest", "/v2/models/default/infer", "/v1/models/default:predict"])
def test_chunks_over_the_limit_are_refused_while_they_come(alone: Running, path: str) -> None:
    """There is no length to go by; what is read never passes the limit by more than a piece."""
    request = HEAD.replace(b"/score", path.encode()) + b"Transfer-Encoding: chunked\r\n\r\n"
    head, problem = exchange(alone, request + b"400\r\n" + (b" " * 1024 + b"\r\n400\r\n") * 5)
    assert head.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in head
    assert "more than 4096 bytes; the limit is 4096" in str(problem.get("detail") or problem["error"])


@pytest.mark.parametrize("path", ["/ingest", "/v2/models/default/infer", "/v2/repository/index", "/score"])
def test_the_limit_is_the_same_on_every_route(alone: Running, path: str) -> None:
    """Whichever part of the server reads the body, and however small it is for one that may be read."""
    answer = alone.client.post(path, content=b"{" * 4097, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "4097 bytes; the limit is 4096" in answer.text


def test_a_client_that_goes_away_in_the_middle_disturbs_nobody(
    alone: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback, and the server goes on."""
    with socket.create_connection(("127.0.0.1", alone.port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
    assert alone.client.get("/healthz").status_code == 200
    assert "Traceback" not in caplog.text


def test_what_is_no_http_is_refused(alone: Running) -> None:
    """400, and the connection closes."""
    with socket.create_connection(("127.0.0.1", alone.port), timeout=20) as connection:
        connection.sendall(b"\x00\x01\x02 nonsense\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")


def test_the_folder_of_the_store_is_made(tmp_path: Path) -> None:
    """A first start has none."""
    with running(NOWHERE, tmp_path / "deep" / "objects"):
        assert (tmp_path / "deep" / "objects").is_dir()
