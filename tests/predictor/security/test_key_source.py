from __future__ import annotations

from pathlib import Path

import pytest

from predictor.security.errors import SecurityMisconfigured
from predictor.security.key_source import MAX_BYTES, KeySourceFailed, key_source
from tests.predictor.security.issuers import serving


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
