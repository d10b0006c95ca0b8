"""A bucket of a real S3 server, a proxy in front of it, and a store opened through both."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.store.s3_proxy import S3Proxy, s3_proxy

if TYPE_CHECKING:
    from tests.seaweed import Seaweed

_numbers = itertools.count(1)


@pytest.fixture
def bucket(s3_server: Seaweed) -> str:
    """A bucket of its own for each test."""
    return s3_server.make_bucket(f"s3-objects-{next(_numbers)}")


@pytest.fixture
def proxy(s3_server: Seaweed) -> Iterator[S3Proxy]:
    """Stands between the store and the server."""
    with s3_proxy(s3_server.port) as running:
        yield running


@pytest.fixture
def environment(s3_server: Seaweed, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The process's environment, which is that of the server's admin by way of the proxy; tests change it."""
    for name, value in (s3_server.environment() | {"AWS_ENDPOINT_URL_S3": proxy.url}).items():
        monkeypatch.setenv(name, value)
    return monkeypatch
