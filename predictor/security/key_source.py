"""Where an issuer's key set comes from: an address (https, or http on loopback) or a mounted file.

Blocking, for a thread. It follows no redirect, reads at most 1 MiB, and gives up in time: whoever answers in the
issuer's place must not be able to send us elsewhere or hold us up. Certificates are checked against the system's
authorities (``SSL_CERT_FILE`` names others).
"""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from pathlib import Path
from typing import IO, Any, Protocol

from predictor.security.errors import SecurityMisconfigured
from predictor.security.exposure import is_loopback

MAX_BYTES = 1024 * 1024


class KeySourceFailed(Exception):
    """The key set could not be had; the message says why, for the log."""


class KeySource(Protocol):
    """Gives an issuer's key set."""

    def fetch(self) -> bytes:
        """Return the document, at most 1 MiB; KeySourceFailed if it cannot be had. Blocks for seconds at most."""


def key_source(url: str, *, timeout: float = 5.0, http_allowed: bool = False) -> KeySource:
    """Return the source that ``url`` names.

    Args:
        url: ``https://…``; ``http://…`` on this machine, or anywhere if ``http_allowed``; or ``file:///…``.
        timeout: seconds for each wait on the network; all of them together may take twice as long.
        http_allowed: whether keys may cross a network unprotected.

    Raises:
        SecurityMisconfigured: the address is none of these.

    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return FileKeySource(Path(urllib.request.url2pathname(parts.path)))
    if parts.username is not None or not parts.hostname or parts.scheme not in ("http", "https"):
        raise SecurityMisconfigured(
            "the key set's address must be https://HOST/PATH without a user name, or file:///PATH"
        )
    local = is_loopback(parts.hostname)
    if parts.scheme == "http" and not (local or http_allowed):
        raise SecurityMisconfigured(
            "the key set's address is http, so anyone on the way could replace the keys: use https, or allow it in"
            " words with TELLTALE_AUTH_JWKS_ALLOW_HTTP=true"
        )
    return HttpKeySource(url, timeout=timeout, direct=local)


class FileKeySource:
    """A key set in a file, such as a mounted ConfigMap; it is read again at every refresh."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fetch(self) -> bytes:
        """Return the file's content; KeySourceFailed if it cannot be read or is too large."""
        try:
            with self._path.open("rb") as file:
                return _bounded(file.read(MAX_BYTES + 1))
        except OSError as error:
            raise KeySourceFailed(f"{self._path} cannot be read: {error.strerror}") from error


class HttpKeySource:
    """A key set at an address; ``direct`` keeps proxies out, for addresses on this machine."""

    def __init__(self, url: str, *, timeout: float, direct: bool) -> None:
        self._request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked above
        self._timeout = timeout
        self._connections = _Connections()
        handlers = [_NoRedirects(), _Http(self._connections), _Https(self._connections)]
        proxies = [urllib.request.ProxyHandler({})] if direct else []
        self._opener = urllib.request.build_opener(*handlers, *proxies)

    def fetch(self) -> bytes:
        """Return what the address answers; KeySourceFailed for any answer but 200, and none in time."""
        # Sockets bound each wait. For an answer that drips, the sum of them is bounded here.
        with self._connections.bounded(2 * self._timeout):
            document = self._answer()
        if self._connections.is_cut:
            raise KeySourceFailed(f"the key set did not arrive within {2 * self._timeout:g} s")
        return document

    def _answer(self) -> bytes:
        try:
            with self._opener.open(self._request, timeout=self._timeout) as response:
                body = bytearray()
                while not self._connections.is_cut and (piece := response.read1(65536)):
                    body += _bounded(piece, already=len(body))
                return bytes(body)
        except urllib.error.HTTPError as error:
            error.close()
            raise KeySourceFailed(f"the key set's address answered {error.code}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise KeySourceFailed(f"the key set's address does not answer: {error}") from error


def _bounded(piece: bytes, *, already: int = 0) -> bytes:
    if already + len(piece) > MAX_BYTES:
        raise KeySourceFailed(f"the key set is larger than {MAX_BYTES} bytes")
    return piece


class _Connections:
    """Knows the newest connection, and cuts it when its time is over: whoever waits for its head finds that it ended.

    Once the head is there, urllib has let go of the connection, and whoever reads the body asks ``is_cut``.
    """

    def __init__(self) -> None:
        self._newest: http.client.HTTPConnection | None = None
        self.is_cut = False

    def note(self, connect: Callable[..., http.client.HTTPConnection]) -> Callable[..., http.client.HTTPConnection]:
        """Return a function that connects as ``connect`` does, and keep in mind what it returns."""

        def noted(*args: Any, **kwargs: Any) -> http.client.HTTPConnection:
            self._newest = connect(*args, **kwargs)
            return self._newest

        return noted

    @contextmanager
    def bounded(self, seconds: float) -> Iterator[None]:
        """Let what happens within take so long."""
        self._newest, self.is_cut = None, False
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        self.is_cut = True
        used = self._newest.sock if self._newest is not None else None
        if used is not None:
            with suppress(OSError):  # it is closed already
                socket.socket.shutdown(used, socket.SHUT_RDWR)  # TLS' own would also take itself from who reads


class _Http(urllib.request.HTTPHandler):
    def __init__(self, connections: _Connections) -> None:
        super().__init__()
        self._connections = connections

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connections.note(http.client.HTTPConnection), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, connections: _Connections) -> None:
        super().__init__()
        self._connections = connections

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connections.note(http.client.HTTPSConnection), req)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,  # noqa: ARG002 - the shape that urllib calls
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: Message,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> None:
        """Follow nothing, so that the redirect itself becomes the error."""
        return
