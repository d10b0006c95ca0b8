from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from predictor.security.errors import SecurityMisconfigured
from predictor.security.key_source import MAX_BYTES, KeySourceFailed, key_source
from tests.predictor.security.issuers import ec_key, serving


def test_a_key_set_is_read_by_http_from_this_machine() -> None:
    with serving(b"document") as server:
        assert key_source(server.url).fetch() == b"document"


def test_a_key_set_is_read_from_a_file_each_time(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    source = key_source(file.as_uri())
    with pytest.raises(KeySourceFailed, match="cannot be read"):
        source.fetch()
    for document in (b"one", b"two"):
        file.write_bytes(document)
        assert source.fetch() == document


@pytest.mark.parametrize(
    "url",
    [
        "ftp://issuer/x",
        "data:,x",
        "jwks.json",
        "https:///x",
        "https://user:pw@issuer/x",
        "file://host/x",
        "",
        "javascript:x",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(SecurityMisconfigured):
        key_source(url)


def test_http_to_another_machine_must_be_allowed_in_words() -> None:
    with pytest.raises(SecurityMisconfigured, match="ALLOW_HTTP=true"):
        key_source("http://issuer.example/jwks.json")
    assert key_source("http://issuer.example/jwks.json", http_allowed=True)
    assert key_source("https://issuer.example/jwks.json")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with serving(b"elsewhere") as other, serving(b"") as server:
        server.status = status
        server.headers["Location"] = other.url
        with pytest.raises(KeySourceFailed, match=str(status)):
            key_source(server.url).fetch()
        assert other.requests == 0


@pytest.mark.parametrize("status", [404, 500, 503])
def test_an_error_of_the_issuer_is_a_failure(status: int) -> None:
    with serving(b"{}") as server:
        server.status = status
        with pytest.raises(KeySourceFailed, match=str(status)):
            key_source(server.url).fetch()


def test_more_than_a_mebibyte_is_refused(tmp_path: Path) -> None:
    with serving(b"x" * (MAX_BYTES + 1)) as server:
        with pytest.raises(KeySourceFailed, match="larger than"):
            key_source(server.url).fetch()
        server.document = b"x" * MAX_BYTES
        assert len(key_source(server.url).fetch()) == MAX_BYTES
    (tmp_path / "large").write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(KeySourceFailed, match="larger than"):
        key_source((tmp_path / "large").as_uri()).fetch()


def test_an_issuer_that_does_not_answer_is_given_up() -> None:
    with serving(b"{}") as server:
        server.hold.clear()
        with pytest.raises(KeySourceFailed, match="does not answer"):
            key_source(server.url, timeout=0.05).fetch()


def test_an_issuer_that_is_not_there_is_a_failure() -> None:
    with serving(b"{}") as server:
        url = server.url
    with pytest.raises(KeySourceFailed, match="does not answer"):
        key_source(url).fetch()


def _certificate(folder: Path) -> Path:
    """Write a certificate that 127.0.0.1 made for itself, with its key, into one file."""
    key, name = ec_key("tls"), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    file = folder / "issuer.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return file


def _tls(file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@contextmanager
def _dripping(piece: bytes, tls: ssl.SSLContext | None) -> Iterator[str]:
    """Yield the address of a server that says ``piece`` again and again, and never ends."""
    stop = threading.Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not stop.wait(0.01):
                    try:
                        connection.sendall(piece)
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{listening.getsockname()[1]}/jwks.json"
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("piece", [b"x", b"X-Name: value\r\n", b"\r\n{"], ids=["line", "head", "body"])
@pytest.mark.parametrize("is_secure", [False, True])
def test_an_issuer_that_drips_is_given_up_wherever_it_drips(
    piece: bytes, is_secure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = _tls(_certificate(tmp_path)) if is_secure else None
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "issuer.pem"))
    with _dripping(piece, tls) as url:
        began = time.monotonic()
        with pytest.raises(KeySourceFailed, match=r"does not answer|did not arrive"):
            key_source(url, timeout=0.2).fetch()
        assert time.monotonic() - began < 2


def test_a_certificate_must_be_by_an_authority_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _certificate(tmp_path)
    with serving(b"document", tls=_tls(file)) as server:
        assert server.url.startswith("https:")
        with pytest.raises(KeySourceFailed, match="certificate verify failed"):
            key_source(server.url).fetch()
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert key_source(server.url).fetch() == b"document"
        elsewhere = server.url.replace("127.0.0.1", "localhost")
        with pytest.raises(KeySourceFailed, match="certificate is not valid for 'localhost'"):
            key_source(elsewhere).fetch()
