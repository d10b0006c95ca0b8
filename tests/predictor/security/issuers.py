"""Issuers of tokens for tests: real keys, real signatures, and a real HTTP server that serves the key set."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

NOW = 1_700_000_000.0
SECRET = b"a secret of the tests, which has more than 32 bytes"

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key; the same for the same name."""
    assert name
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    """A key on P-256; the same for the same name."""
    assert name
    return ec.generate_private_key(ec.SECP256R1())


def algorithm_of(key: Key) -> str:
    """The JWS algorithm that a key signs with."""
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"


def public_jwk(key: Key, **members: object) -> dict[str, Any]:
    """The public JWK of a key, with other members beside."""
    algorithm = jwt.get_algorithm_by_name(algorithm_of(key))
    return json.loads(algorithm.to_jwk(key.public_key())) | members


def key_set(**keys: Key) -> bytes:
    """A key set with each key under its kid."""
    return json.dumps({"keys": [public_jwk(key, kid=kid, use="sig") for kid, key in keys.items()]}).encode()


def claims(**others: object) -> dict[str, Any]:
    """The claims of a good token at NOW, with others added or replaced; None leaves one out."""
    good = {"sub": "fleet-7", "exp": NOW + 300, "scope": "telemetry:score models:read"}
    return {name: value for name, value in (good | others).items() if value is not None}


def signed(key: Key | bytes, payload: Mapping[str, Any], *, kid: str | None = None, **header: object) -> bytes:
    """An Authorization header with a token."""
    algorithm = "HS256" if isinstance(key, bytes) else algorithm_of(key)
    headers = {"kid": kid} if kid is not None else {}
    return b"Bearer " + jwt.encode(dict(payload), key, algorithm, headers=headers | header).encode()


def forged(header: Mapping[str, object] | bytes, payload: Mapping[str, object] | bytes, signature: bytes) -> bytes:
    """An Authorization header with a token put together by hand."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    return b"Bearer " + b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (*parts, signature))


class KeyServer:
    """What the server answers, and how often it was asked."""

    def __init__(self, document: bytes) -> None:
        self.document = document
        self.status = 200
        self.headers: dict[str, str] = {}
        self.requests = 0
        self.hold = threading.Event()
        self.hold.set()
        self.url = ""


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that give up are what some tests are about."""


@contextmanager
def serving(document: bytes, *, tls: ssl.SSLContext | None = None) -> Iterator[KeyServer]:
    """Yield a running server of a key set, which speaks TLS if it is given a context."""
    state = KeyServer(document)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests += 1
            state.hold.wait(10)
            self.send_response(state.status)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(state.document)))
            self.end_headers()
            self.wfile.write(state.document)

        def log_message(self, *_: object) -> None:
            pass

    server = _QuietServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}/jwks.json"
    try:
        yield state
    finally:
        state.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()
