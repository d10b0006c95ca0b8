"""Listings with sizes and times, and what killed writers left: of a folder, of moto and of a real S3 server."""

from __future__ import annotations

import itertools
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from store.errors import ObjectExists, StoreUnavailable
from store.local_objects import LocalObjectStore
from store.objects import ObjectStore, Unfinished
from store.s3_objects import S3ObjectStore, s3_client

if TYPE_CHECKING:
    from tests.seaweed import Seaweed


def test_a_listing_tells_sizes_and_times_and_keeps_the_objects_of_a_folder_together(objects: ObjectStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 tells whole seconds
    keys = ["m/v1/a", "m/v1-b", "m/v1/c", "m/v10/a", "n/v1/a"]
    for size, key in enumerate(keys):
        objects.create(key, b"x" * size)
    found = list(objects.listed("m/"))
    assert {(one.key, one.size) for one in found} == {("m/v1/a", 0), ("m/v1-b", 1), ("m/v1/c", 2), ("m/v10/a", 3)}
    assert all(before <= one.modified <= datetime.now(UTC) + timedelta(seconds=1) for one in found)
    folders = [folder for folder, _ in itertools.groupby(one.key.rpartition("/")[0] for one in found)]
    assert len(folders) == len(set(folders)) == 3
    assert [one.key for one in objects.listed("")] != []
    assert list(objects.listed("none/")) == []


def test_more_than_a_page_is_listed(objects: ObjectStore) -> None:
    for number in range(1005):
        objects.create(f"b/{number:04}", b"")
    assert [one.key for one in objects.listed("b/")] == [f"b/{number:04}" for number in range(1005)]


def test_a_folder_whose_last_object_is_deleted_is_gone(tmp_path: Path, folder: LocalObjectStore) -> None:
    folder.create("m/v1/a", b"")
    folder.create("m/v2/a", b"")
    folder.delete("m/v1/a")
    assert [path.name for path in (tmp_path / "objects" / "m").iterdir()] == ["v2"]
    folder.delete("m/v2/a")
    folder.delete("m/v2/a")
    assert not (tmp_path / "objects" / "m").exists()
    assert (tmp_path / "objects").is_dir()


def test_objects_are_written_while_their_folder_comes_and_goes(folder: LocalObjectStore) -> None:
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            folder.create("m/v/other", b"")
            folder.delete("m/v/other")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for number in range(50):
            folder.create(f"m/v/{number}", b"1")
            folder.delete(f"m/v/{number}")
    finally:
        ended.set()
        thread.join()


def test_a_file_half_written_by_a_killed_process_is_told_and_abandoned(
    tmp_path: Path, folder: LocalObjectStore
) -> None:
    folder.create("a", b"1")
    half = tmp_path / "objects" / ".tmp" / "half"
    half.write_bytes(b"x")
    os.utime(half, (1_700_000_000, 1_700_000_000))
    (left,) = folder.unfinished()
    assert left.since == datetime.fromtimestamp(1_700_000_000, UTC)
    assert [one.key for one in folder.listed("")] == ["a"]
    folder.abandon(left)
    folder.abandon(left)
    assert list(folder.unfinished()) == []
    assert folder.read("a") == b"1"


@pytest.mark.parametrize("kind", ["moto", "s3"])
def test_an_upload_of_a_killed_process_is_told_and_aborted(request: pytest.FixtureRequest, kind: str) -> None:
    store: S3ObjectStore = request.getfixturevalue(kind)
    bucket = store._bucket
    client = s3_client()
    for key in ("some/prefix/big", "elsewhere/big"):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 1000)
    (left,) = store.unfinished()
    assert left.key == "big"
    assert left.since.tzinfo is not None
    store.abandon(left)
    assert list(store.unfinished()) == []
    store.abandon(Unfinished("big", left.id, left.since))
    assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1


def test_a_server_that_does_not_let_us_list_uploads_says_what_is_missing(
    s3_server: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment("stranger").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreUnavailable, match="must allow s3:ListBucketMultipartUploads"):
        list(S3ObjectStore(s3_client(), bucket, patience=0).unfinished())


def test_a_taken_key_is_refused_as_before(folder: LocalObjectStore) -> None:
    folder.create("m/v/a", b"1")
    with pytest.raises(ObjectExists):
        folder.create("m/v/a", b"2")
