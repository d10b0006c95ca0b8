"""A real S3 server that fails, is silent, is down, is killed and comes back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from store.errors import StoreUnavailable
from store.s3_objects import S3ObjectStore, s3_client
from tests.conftest import passable_folder
from tests.store.buckets import opened
from tests.store.s3_proxy import Fault, S3Proxy


@pytest.fixture
def objects(environment: pytest.MonkeyPatch, bucket: str) -> S3ObjectStore:  # noqa: ARG001 - it is set before
    return opened(bucket, patience=6)


class TestOutages:
    @pytest.mark.parametrize("fault", [Fault.BUSY, Fault.BROKEN, Fault.ANSWER_LOST])
    def test_every_call_outlives_a_few_failures(self, objects: S3ObjectStore, proxy: S3Proxy, fault: Fault) -> None:
        for method in ("PUT", "GET", "GET", "GET", "DELETE"):
            proxy.expect(method, fault, times=2)
        objects.create("a", b"1")
        assert objects.read("a") == b"1"
        assert objects.exists("a")
        assert list(objects.keys("")) == ["a"]
        objects.delete("a")
        assert not objects.exists("a")

    def test_a_server_that_is_down_is_unavailable_after_the_patience(
        self, environment: pytest.MonkeyPatch, bucket: str
    ) -> None:
        environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
        objects, began = opened(bucket, patience=0.5), time.monotonic()
        with pytest.raises(StoreUnavailable, match="the object store does not answer") as caught:
            objects.read("a")
        assert time.monotonic() - began < 5
        assert caught.value.retry_after > 0

    def test_an_address_of_the_inside_is_for_the_log_and_not_for_callers(
        self, environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bucket: str
    ) -> None:
        environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
        with pytest.raises(StoreUnavailable) as caught:
            opened(bucket).read("a")
        assert "127.0.0.1" not in str(caught.value)
        assert "http://127.0.0.1:1/" in caplog.text

    def test_a_server_that_is_silent_is_unavailable_after_the_clients_patience(
        self, environment: pytest.MonkeyPatch, proxy: S3Proxy, bucket: str
    ) -> None:
        del environment
        proxy.expect("GET", Fault.SILENCE, times=10)
        objects, began = S3ObjectStore(s3_client(read_seconds=0.3), bucket, patience=0.5), time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer"):
            objects.exists("a")
        assert time.monotonic() - began < 5

    def test_a_server_that_is_killed_and_comes_back_costs_no_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from tests.seaweed import Seaweed

        with passable_folder() as folder:
            server = Seaweed(folder)
            server.start()
            try:
                for name, value in server.environment().items():
                    monkeypatch.setenv(name, value)
                objects = opened(server.make_bucket("telltale"), patience=60)
                objects.create("before", b"1")
                server.kill()
                with ThreadPoolExecutor(2) as pool:
                    created = pool.submit(objects.create, "during", b"2")
                    read = pool.submit(objects.read, "before")
                    server.start()
                    created.result(60)
                    assert read.result(60) == b"1"
                assert objects.read("during") == b"2"
            finally:
                server.stop()
