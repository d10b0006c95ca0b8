"""A connection to the API server: requests and watches, over the standard library's HTTP, which is there at once.

One connection is one thread's. A request that is lost is sent again only where that is harmless.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import tempfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from registry.plugin.credentials import Credentials, Proof, pem
from registry.plugin.errors import CannotReach, ConfigFault
from registry.plugin.kubeconfig import Endpoint
from registry.plugin.proxies import proxy_of

_LOST = (http.client.HTTPException, OSError)


class _Https(http.client.HTTPSConnection):
    """An HTTPS connection whose certificate may be another host's: `tls-server-name` says whose."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, server_name: str, timeout: float) -> None:
        super().__init__(host, port, context=context, timeout=timeout)
        self._tls, self._server_name = context, server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


class Connection:
    """A connection, opened at the first request.

    Args:
        endpoint: the cluster.
        credentials: of the account.
        impersonation: headers by which to act as another.
        timeout: how long to wait for an answer, in seconds.

    """

    def __init__(
        self, endpoint: Endpoint, credentials: Credentials, impersonation: Mapping[str, str | list[str]], timeout: float
    ) -> None:
        self._endpoint, self._credentials, self._timeout = endpoint, credentials, timeout
        self._impersonation = impersonation
        self._http: http.client.HTTPConnection | None = None
        self._proof: Proof | None = None

    def ask(
        self, method: str, path: str, parameters: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> tuple[int, Any]:
        """Return an answer's status, and its document (a string where it is none); CannotReach if none came."""
        was_open = self._http is not None
        try:
            answer = self._send(method, path, parameters, body, self._timeout)
            status, content = answer.status, answer.read()
        except _LOST as error:
            self.close()
            # The server may have closed a connection that was idle: nothing was done then.
            if was_open and method == "GET":
                return self.ask(method, path, parameters, body)
            raise self._trouble(error, self._timeout) from error
        return status, _document(content)

    def stream(self, path: str, parameters: Mapping[str, str], seconds: float) -> Generator[Any, None, None]:
        """Yield an answer's lines as documents, until it ends or is silent for ``seconds``; first its status.

        Silence before a status is no end: it raises CannotReach.
        """
        begun = False
        try:
            answer = self._send("GET", path, parameters, None, seconds)
            yield answer.status
            if answer.status != 200:
                yield _document(answer.read())
                return
            begun = True
            while line := answer.readline():
                yield _document(line)
        except _LOST as error:
            if not (begun and isinstance(error, TimeoutError)):
                raise self._trouble(error, seconds) from error
        finally:
            self.close()

    def close(self) -> None:
        """Close it; the next request opens it again."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _send(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        timeout: float,
    ) -> http.client.HTTPResponse:
        answer = self._send_once(method, path, parameters, body, timeout)
        if answer.status == 401 and self._proof is not None:
            fresh = self._credentials.fresh(self._proof)
            if fresh is not self._proof:
                answer.read()
                self.close()
                answer = self._send_once(method, path, parameters, body, timeout)
        return answer

    def _send_once(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        timeout: float,
    ) -> http.client.HTTPResponse:
        connection = self._http or self._open()
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.timeout = timeout
        content = None if body is None else json.dumps(body).encode()
        whole = urlsplit(self._endpoint.server).path + path + (f"?{urlencode(parameters)}" if parameters else "")
        connection.putrequest(method, whole)
        for name, value in self._headers(content):
            connection.putheader(name, value)
        connection.endheaders(content)
        return connection.getresponse()

    def _headers(self, content: bytes | None) -> Iterator[tuple[str, str]]:
        yield "Accept", "application/json"
        yield "User-Agent", "kubectl-telltale"
        if content is not None:
            yield "Content-Type", "application/json"
            yield "Content-Length", str(len(content))
        if self._proof is not None and self._proof.authorization:
            yield "Authorization", self._proof.authorization
        for name, value in self._impersonation.items():
            for one in [value] if isinstance(value, str) else value:
                yield name, one

    def _open(self) -> http.client.HTTPConnection:
        cluster, server = self._endpoint.cluster, urlsplit(self._endpoint.server)
        host = server.hostname or "localhost"
        port = server.port or (443 if server.scheme == "https" else 80)
        self._proof = self._credentials.proof()
        proxy = proxy_of(cluster, server.scheme, host)
        at = (host, port) if proxy is None else proxy
        if server.scheme == "https":
            name = str(cluster.get("tls-server-name") or host)
            opened: http.client.HTTPConnection = _Https(*at, tls(cluster, self._proof), name, self._timeout)
        else:
            opened = http.client.HTTPConnection(*at, timeout=self._timeout)
        if proxy is not None:
            opened.set_tunnel(host, port)
        self._http = opened
        return opened

    def _trouble(self, error: Exception, seconds: float) -> CannotReach:
        where = f"{self._endpoint.server} (context {self._endpoint.context})"
        if isinstance(error, ssl.SSLCertVerificationError):
            return CannotReach(f"{where} has a certificate that is not trusted: {error.verify_message}")
        if isinstance(error, TimeoutError):
            return CannotReach(f"no answer from {where} within {seconds:g} s")
        if isinstance(error, socket.gaierror):
            return CannotReach(f"the name of {where} cannot be found")
        if isinstance(error, ConnectionRefusedError):
            return CannotReach(f"nothing answers at {where}: is the cluster running?")
        return CannotReach(f"the connection to {where} failed: {error or type(error).__name__}")


def tls(cluster: Mapping[str, Any], proof: Proof) -> ssl.SSLContext:
    """Return how the server proves itself to us and we to it."""
    authority = pem(cluster, "certificate-authority")
    try:
        context = ssl.create_default_context(cadata=None if authority is None else authority.decode())
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if proof.certificate is not None:
            _load(context, proof.certificate, proof.key or b"")
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ConfigFault(f"a certificate of the kubeconfig cannot be used: {error}") from error
    return context


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a client's certificate; OpenSSL takes only files, so it is in one that others cannot read, for a moment."""
    with tempfile.TemporaryDirectory(prefix="kubectl-telltale-") as folder:
        file = Path(folder, "client.pem")
        file.touch(mode=0o600)
        file.write_bytes(certificate + b"\n" + key)
        context.load_cert_chain(file)


def _document(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace").strip()
