"""Three object stores that must do the same, and a real S3 server's bucket with a proxy in front of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from moto import mock_aws

from store.local_objects import LocalObjectStore
from store.objects import ObjectStore
from store.s3_objects import S3ObjectStore, s3_client
from tests.store.buckets import PART
from tests.store.s3_proxy import S3Proxy, s3_proxy

if TYPE_CHECKING:
    from tests.seaweed import Seaweed

_numbers = itertools.count(1)


@pytest.fixture(params=["folder", "moto", "s3"])
def objects(request: pytest.FixtureRequest) -> ObjectStore:
    """Each of the three in turn."""
    made: ObjectStore = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> LocalObjectStore:
    """A store in a folder."""
    return LocalObjectStore(tmp_path / "objects")


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3ObjectStore]:
    """A store in a bucket of moto, in this process."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = s3_client()
        client.create_bucket(Bucket="telltale")
        yield S3ObjectStore(client, "telltale", "some/prefix/", part_bytes=PART, patience=0)


@pytest.fixture
def s3(s3_server: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch) -> S3ObjectStore:
    """A store in a bucket of the real server."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return S3ObjectStore(s3_client(), bucket, "some/prefix/", part_bytes=PART, patience=2)


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
