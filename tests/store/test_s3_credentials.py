"""What a real S3 server refuses, to whom, and what is said about it; and credentials that come from a role."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    PartialCredentialsError,
)

from store.errors import StoreUnavailable
from store.s3_errors import fault_of
from store.s3_objects import S3ObjectStore, s3_client
from tests.store.buckets import IN_PARTS, faults_of, opened
from tests.store.s3_proxy import S3Proxy

if TYPE_CHECKING:
    from tests.seaweed import Seaweed


@pytest.fixture
def objects(environment: pytest.MonkeyPatch, bucket: str) -> S3ObjectStore:  # noqa: ARG001 - it is set before
    return opened(bucket, patience=6)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch.* check AWS_SECRET_ACCESS_KEY"),
            ({"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId.* check AWS_ACCESS_KEY_ID"),
            (
                {"AWS_ACCESS_KEY_ID": "stranger", "AWS_SECRET_ACCESS_KEY": "stranger-secret"},
                "AccessDenied.* the credentials must allow s3:",
            ),
        ],
    )
    def test_wrong_credentials_are_told_by_every_call(
        self, environment: pytest.MonkeyPatch, bucket: str, changes: dict[str, str], sentence: str
    ) -> None:
        for name, value in changes.items():
            environment.setenv(name, value)
        for fault in faults_of(opened(bucket)):
            assert isinstance(fault, StoreUnavailable)
            assert fault.retry_after >= 30
            with pytest.raises(StoreUnavailable, match=sentence):
                raise fault

    def test_who_may_only_read_reads_and_is_told_what_is_missing_to_write(
        self, objects: S3ObjectStore, environment: pytest.MonkeyPatch, bucket: str
    ) -> None:
        objects.create("a", b"1")
        environment.setenv("AWS_ACCESS_KEY_ID", "reader")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "reader-secret")
        reader = opened(bucket)
        assert (reader.read("a"), reader.exists("a"), list(reader.keys(""))) == (b"1", True, ["a"])
        for content in (b"1", b"2", IN_PARTS):
            with pytest.raises(StoreUnavailable, match=r"AccessDenied.* the credentials must allow s3:PutObject$"):
                reader.create("b", content)
        with pytest.raises(StoreUnavailable, match=r"the credentials must allow s3:DeleteObject$"):
            reader.delete("a")

    def test_who_may_write_under_one_prefix_alone_can_keep_models_there(
        self, s3_server: Seaweed, environment: pytest.MonkeyPatch
    ) -> None:
        environment.setenv("AWS_ACCESS_KEY_ID", "writer")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "writer-secret")
        s3_server.make_bucket("limited")
        objects = S3ObjectStore(s3_client(), "limited", patience=0)
        objects.create("models/a", b"1")
        assert list(objects.keys("models/")) == ["models/a"]
        with pytest.raises(StoreUnavailable, match="s3:PutObject"):
            objects.create("batches/a", b"1")

    def test_a_missing_bucket_is_to_be_made(self, objects: S3ObjectStore) -> None:
        """It is not mistaken for an empty one."""
        del objects
        for fault in faults_of(opened("no-such-bucket")):
            assert isinstance(fault, StoreUnavailable)
            assert "create the bucket" in str(fault)
            assert "no-such-bucket" in str(fault)

    def test_no_credentials_at_all_are_told(self, environment: pytest.MonkeyPatch, bucket: str) -> None:
        environment.delenv("AWS_ACCESS_KEY_ID")
        environment.delenv("AWS_SECRET_ACCESS_KEY")
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        with pytest.raises(StoreUnavailable, match=r"there are no credentials .* set AWS_ACCESS_KEY_ID"):
            opened(bucket).exists("a")

    def test_refusals_are_not_sent_again(self, environment: pytest.MonkeyPatch, proxy: S3Proxy, bucket: str) -> None:
        environment.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(StoreUnavailable):
            opened(bucket, patience=60).exists("a")
        assert len(proxy.passed) == 1

    def test_credentials_are_in_no_error_and_no_log(
        self, environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bucket: str
    ) -> None:
        environment.setenv("AWS_SECRET_ACCESS_KEY", "open-sesame")
        environment.setenv("AWS_SESSION_TOKEN", "token-sesame")
        caplog.set_level(logging.DEBUG)
        for fault in faults_of(opened(bucket)):
            told: BaseException | None = fault
            while told is not None:
                assert "sesame" not in str(told) + repr(told)
                told = told.__cause__
        assert "sesame" not in caplog.text

    @pytest.mark.parametrize(
        "error",
        [
            EndpointConnectionError(endpoint_url="http://s3"),
            ConnectTimeoutError(endpoint_url="http://s3"),
            PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            CredentialRetrievalError(provider="web", error_msg="closed"),
            *(
                ClientError({"Error": {"Code": code, "Message": "no."}}, "GetObject")
                for code in (
                    "ExpiredToken",
                    "RequestTimeTooSkewed",
                    "PermanentRedirect",
                    "NotImplemented",
                    "Unheard",
                    "",
                )
            ),
        ],
        ids=str,
    )
    def test_every_error_of_the_client_library_becomes_unavailable(self, error: ClientError | BotoCoreError) -> None:
        fault = fault_of(error, "a")
        assert isinstance(fault, StoreUnavailable)
        assert str(fault)


class _Sts(BaseHTTPRequestHandler):
    """An STS that gives each web identity the credentials that are its name, for a moment or an hour."""

    asked: list[str]

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        identity = form["WebIdentityToken"][0]
        self.asked.append(f"{form['RoleArn'][0]} {identity}")
        # What expires within ten minutes is renewed before its next use.
        lasts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
        credentials = (
            f"<AccessKeyId>{identity}</AccessKeyId><SecretAccessKey>{identity}-secret</SecretAccessKey>"
            f"<SessionToken></SessionToken><Expiration>{lasts}</Expiration>"
        )
        body = (
            '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<AssumeRoleWithWebIdentityResult><Credentials>{credentials}</Credentials>"
            "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        """Say nothing."""


@contextmanager
def sts() -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a token service and what it is asked."""

    class Handler(_Sts):
        asked: list[str] = []  # noqa: RUF012 - one class for each server

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", Handler.asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def role(environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """The environment of a pod with an IAM role for its service account; its token's file, and what STS is asked."""
    token = tmp_path / "token"
    token.write_text("reader")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name)
    with sts() as (url, asked):
        environment.setenv("AWS_ENDPOINT_URL_STS", url)
        environment.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/telltale")
        environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
        yield token, asked


class TestRoles:
    def test_a_pods_role_is_taken_and_its_rotated_token_too(self, role: tuple[Path, list[str]], bucket: str) -> None:
        token, asked = role
        objects = opened(bucket)
        with pytest.raises(StoreUnavailable, match="s3:PutObject"):
            objects.create("a", b"1")
        token.write_text("admin")
        objects.create("a", b"1")
        assert objects.read("a") == b"1"
        assert set(asked) == {
            "arn:aws:iam::123456789012:role/telltale reader",
            "arn:aws:iam::123456789012:role/telltale admin",
        }

    def test_a_token_service_that_is_away_makes_the_store_unavailable_soon(
        self, role: tuple[Path, list[str]], environment: pytest.MonkeyPatch, bucket: str
    ) -> None:
        del role
        environment.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer"):
            opened(bucket).read("a")
        assert time.monotonic() - began < 5

    def test_a_token_service_that_is_silent_makes_the_store_unavailable_soon(
        self, role: tuple[Path, list[str]], environment: pytest.MonkeyPatch, bucket: str
    ) -> None:
        """The client library would wait a minute, five times."""
        del role
        with socket.create_server(("127.0.0.1", 0)) as silent:
            environment.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{silent.getsockname()[1]}")
            objects, began = S3ObjectStore(s3_client(read_seconds=0.3), bucket, patience=0.5), time.monotonic()
            with pytest.raises(StoreUnavailable, match="does not answer"):
                objects.read("a")
        assert time.monotonic() - began < 5

    def test_the_region_may_be_named_as_every_other_client_takes_it(self, environment: pytest.MonkeyPatch) -> None:
        environment.delenv("AWS_DEFAULT_REGION")
        environment.setenv("AWS_REGION", "eu-central-1")
        assert s3_client().meta.region_name == "eu-central-1"
