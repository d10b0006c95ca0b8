"""Object storage in a bucket of S3, or of anything that speaks its protocol.

An object is written by a conditional create (``If-None-Match: *``). Its SHA-256 goes along twice: as the checksum of
what is sent, which the server checks before it stores, and as metadata of the object, which is checked when it is read.
(S3 keeps no SHA-256 of a whole object that went up in parts.) A create whose answer was lost is sent again, finds the
key taken, and compares: the same content is the success that was not heard.

A call that fails for now is sent again with jitter for up to 6 s; the client library itself tries once, so that there
is one bound and not two. A server that is down, or does not take connections, is given up after about 6 s; one that
takes them and hangs, after 11 s; the worst that can come together is 19 s. ``POST /ingest`` makes one such call, and
counts it towards its wait for the training, so it answers within the 30 s that clients and proxies have.
"""

from __future__ import annotations

import base64
import itertools
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from contract.digests import check_digest, digest_of
from contract.errors import CorruptArtifact
from store.errors import ObjectExists, ObjectMissing, StoreUnavailable
from store.objects import StoredObject, Unfinished, checked_key, checked_prefix
from store.s3_errors import S3Error, fault_of, is_taken, is_temporary

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

T = TypeVar("T")
_log = logging.getLogger(__name__)

# Above it an object goes up in parts of this size. 5 MiB is the least that S3 takes.
PART_BYTES = 32 << 20
PATIENCE_SECONDS = 6.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.5
_CONNECT_SECONDS, _READ_SECONDS = 2.0, 10.0
# The predictor's pool for stores has 16 threads; more than that share no client.
_CONNECTIONS = 32
_DIGEST = "sha256"


def s3_client(*, connect_seconds: float = _CONNECT_SECONDS, read_seconds: float = _READ_SECONDS) -> S3Client:
    """Return a client with the credentials, region and endpoint of the environment, as every AWS tool takes them.

    ``AWS_ENDPOINT_URL_S3`` names another server than Amazon's.

    Args:
        connect_seconds: how long the server may take to take a connection.
        read_seconds: how long it may be silent once it has the request.

    """
    for library in ("botocore", "urllib3"):
        # At DEBUG they log signed headers with session tokens, and the answers that bring secret keys; at INFO, at each
        # start, where they found the credentials.
        logging.getLogger(library).setLevel(logging.WARNING)
    core = botocore.session.get_session()
    # As the session's default it also holds for the client that asks STS for a role's credentials.
    core.set_default_client_config(
        Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            max_pool_connections=_CONNECTIONS,
            # What is read is checked here, once.
            response_checksum_validation="when_required",
        )
    )
    # Every other SDK takes AWS_REGION; boto3 knows only AWS_DEFAULT_REGION and the configuration file.
    session = boto3.session.Session(botocore_session=core, region_name=os.environ.get("AWS_REGION"))
    client: S3Client = session.client("s3")
    return client


class S3ObjectStore:
    """An :class:`store.objects.ObjectStore` in a bucket.

    Args:
        client: speaks to the server, and is safe to share between threads. It should try each call once.
        bucket: its name. It must exist.
        prefix: what all keys begin with, ending with a slash; or nothing.
        part_bytes: larger objects go up in parts of this size.
        patience: for how many seconds a call that fails for now is sent again.

    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        prefix: str = "",
        *,
        part_bytes: int = PART_BYTES,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = checked_prefix(prefix)
        self._part_bytes = part_bytes
        self._patience = patience

    def create(self, key: str, data: bytes) -> None:
        """Write a new object (see the port)."""
        target = self._target(key)
        try:
            if len(data) <= self._part_bytes:
                self._put(key, target, data)
            else:
                self._put_in_parts(key, target, data)
        except _Taken:
            self._compare(key, data)

    def read(self, key: str, *, digest: str | None = None, most_bytes: int | None = None) -> bytes:
        """Return an object's content (see the port)."""
        target = self._target(key)
        fetch = partial(self._ask, key, self._fetch, key, target, digest, most_bytes)
        try:
            return fetch()
        except CorruptArtifact:
            # It may have been damaged on the way.
            return fetch()

    def exists(self, key: str) -> bool:
        """Tell whether an object has this key."""
        place = self._place(key)
        # HEAD cannot tell a missing object from a missing bucket. Of all keys that begin so, the shortest is first.
        page = self._ask(key, self._client.list_objects_v2, Bucket=self._bucket, Prefix=place, MaxKeys=1)
        return any(found["Key"] == place for found in page.get("Contents", []))

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names directly under ``prefix`` (see the port)."""
        start = self._prefix + checked_prefix(prefix)
        pages = self._pages(start, Delimiter="/")
        yield from sorted(
            found["Prefix"][len(start) : -1] for page in pages for found in page.get("CommonPrefixes", [])
        )

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield all keys under ``prefix``, sorted."""
        # S3 lists by the bytes of the whole key. Others go folder by folder, which puts a/x before a-b.
        yield from sorted(found["Key"][len(self._prefix) :] for found in self._list(prefix))

    def listed(self, prefix: str) -> Iterator[StoredObject]:
        """Yield what is under ``prefix`` (see the port)."""
        for found in self._list(prefix):
            yield StoredObject(found["Key"][len(self._prefix) :], found["Size"], found["LastModified"])

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        self._ask(key, self._client.delete_object, **self._target(key))

    def unfinished(self) -> Iterator[Unfinished]:
        """Yield the uploads in parts that were neither completed nor aborted (see the port)."""
        list_page = partial(self._client.list_multipart_uploads, Bucket=self._bucket, Prefix=self._prefix)
        page = self._ask("uploads", list_page)
        while True:
            for found in page.get("Uploads", []):
                yield Unfinished(found["Key"][len(self._prefix) :], found["UploadId"], found["Initiated"])
            if not page.get("IsTruncated"):
                return
            after = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
            page = self._ask("uploads", list_page, **after)

    def abandon(self, unfinished: Unfinished) -> None:
        """Abort an upload in parts (see the port)."""
        key = unfinished.key
        with suppress(ObjectMissing):
            self._ask(key, self._client.abort_multipart_upload, **self._target(key), UploadId=unfinished.id)

    def _place(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _target(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._place(key)}

    def _put(self, key: str, target: dict[str, Any], data: bytes) -> None:
        digest = digest_of(data)
        put = partial(self._client.put_object, **target, Body=data, IfNoneMatch="*")
        self._ask(key, put, ChecksumSHA256=_base64(digest), Metadata={_DIGEST: digest})

    def _put_in_parts(self, key: str, target: dict[str, Any], data: bytes) -> None:
        begin = partial(self._client.create_multipart_upload, **target, ChecksumAlgorithm="SHA256")
        upload = {**target, "UploadId": self._ask(key, begin, Metadata={_DIGEST: digest_of(data)})["UploadId"]}
        try:
            parts = [
                self._put_part(key, upload, number, data[start : start + self._part_bytes])
                for number, start in enumerate(range(0, len(data), self._part_bytes), 1)
            ]
            complete = partial(self._client.complete_multipart_upload, **upload, IfNoneMatch="*")
            self._ask(key, complete, MultipartUpload={"Parts": parts})
        except BaseException:
            # What is left behind is paid for. A bucket should have a rule that removes it anyway.
            with suppress(ClientError, BotoCoreError):
                self._client.abort_multipart_upload(**upload)
            raise

    def _put_part(self, key: str, upload: dict[str, Any], number: int, part: bytes) -> dict[str, Any]:
        checksum = _base64(digest_of(part))
        put = partial(self._client.upload_part, **upload, PartNumber=number, Body=part, ChecksumSHA256=checksum)
        return {"PartNumber": number, "ETag": self._ask(key, put)["ETag"], "ChecksumSHA256": checksum}

    def _compare(self, key: str, data: bytes) -> None:
        """Return if the object that took ``key`` is ``data``, perhaps our own of which no answer came."""
        try:
            taken = self.read(key, most_bytes=len(data))
        except CorruptArtifact:
            taken = None
        except ObjectMissing:
            raise StoreUnavailable(f"{key} was removed, or its upload aborted, while it was written") from None
        if taken != data:
            raise ObjectExists(f"{key} exists with other content, and objects are written once")

    def _fetch(self, key: str, target: dict[str, Any], digest: str | None, most_bytes: int | None) -> bytes:
        answer = self._client.get_object(**target)
        with answer["Body"]:
            if most_bytes is not None and answer["ContentLength"] > most_bytes:
                raise CorruptArtifact(f"{key} has {answer['ContentLength']} bytes; at most {most_bytes} belong to it")
            data = answer["Body"].read()
        if (expected := digest or answer["Metadata"].get(_DIGEST)) is not None:
            check_digest(data, expected, key)
        return data

    def _list(self, prefix: str) -> Iterator[Any]:
        for page in self._pages(self._prefix + checked_prefix(prefix)):
            yield from page.get("Contents", [])

    def _pages(self, start: str, **more: Any) -> Iterator[Any]:
        list_page = partial(self._client.list_objects_v2, Bucket=self._bucket, Prefix=start, **more)
        page = self._ask(start or "all keys", list_page)
        yield page
        while page["IsTruncated"]:
            page = self._ask(start or "all keys", list_page, ContinuationToken=page["NextContinuationToken"])
            yield page

    def _ask(self, what: str, call: Callable[..., T], *positional: Any, **named: Any) -> T:
        """Return what the server answers, asking again while it fails for now and there is patience."""
        deadline = time.monotonic() + self._patience
        for number in itertools.count():
            try:
                return call(*positional, **named)
            except (ClientError, BotoCoreError) as error:
                pause = random.uniform(0, min(_FIRST_PAUSE * 2**number, _LONGEST_PAUSE))  # noqa: S311 - no secret
                if not is_temporary(error) or time.monotonic() + pause > deadline:
                    raise self._fault(error, what) from error
                _log.info("the object store failed at %s, and is asked again: %s", what, error)
            time.sleep(pause)
        raise AssertionError("the count has no end")

    def _fault(self, error: S3Error, what: str) -> Exception:
        return _Taken() if is_taken(error) else fault_of(error, f"{what} in bucket {self._bucket}")


class _Taken(Exception):
    """The key is taken, or may be."""


def _base64(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest.removeprefix("sha256:"))).decode()
