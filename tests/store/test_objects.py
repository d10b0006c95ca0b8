"""What every object store must do, asked of a folder, of moto and of a real S3 server alike."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contract.digests import digest_of
from contract.errors import CorruptArtifact
from store.errors import ObjectExists, ObjectMissing, StoreUnavailable
from store.local_objects import LocalObjectStore
from store.objects import ObjectStore


def test_what_was_created_is_read_back(objects: ObjectStore) -> None:
    objects.create("models/a/v1/forest", b"data")
    assert objects.read("models/a/v1/forest", digest=digest_of(b"data")) == b"data"
    assert objects.exists("models/a/v1/forest")


def test_creating_the_same_again_does_nothing_and_other_content_is_refused(objects: ObjectStore) -> None:
    objects.create("a", b"1")
    objects.create("a", b"1")
    with pytest.raises(ObjectExists):
        objects.create("a", b"2")
    assert objects.read("a") == b"1"


def test_of_many_that_create_one_key_at_once_one_wins(objects: ObjectStore) -> None:
    def attempt(number: int) -> bool:
        try:
            objects.create("prize", str(number).encode())
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(32)))
    assert won.count(True) == 1
    assert objects.read("prize") == str(won.index(True)).encode()


def test_of_many_that_create_the_same_at_once_all_succeed(objects: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: objects.create("same", b"content"), range(32)))
    assert objects.read("same") == b"content"


def test_more_bytes_than_belong_to_an_object_are_refused(objects: ObjectStore) -> None:
    objects.create("a", b"12345")
    assert objects.read("a", most_bytes=5) == b"12345"
    with pytest.raises(CorruptArtifact, match="a has 5 bytes; at most 4 belong to it"):
        objects.read("a", most_bytes=4)


@pytest.mark.parametrize("data", [b"", b"\x00" * 100_000, os.urandom(6 << 20)], ids=["0 B", "100 kB", "in parts"])
def test_any_content_is_kept_as_it_is(objects: ObjectStore, data: bytes) -> None:
    objects.create("a", data)
    objects.create("a", data)
    assert objects.read("a", digest=digest_of(data)) == data
    with pytest.raises(ObjectExists):
        objects.create("a", data + b"more")


def test_a_missing_object_and_a_changed_one_are_told_apart(objects: ObjectStore) -> None:
    with pytest.raises(ObjectMissing):
        objects.read("nothing")
    objects.create("a", b"1")
    with pytest.raises(CorruptArtifact):
        objects.read("a", digest=digest_of(b"2"))
    assert not objects.exists("nothing")


def test_v1_is_not_v10(objects: ObjectStore) -> None:
    for key in ("m/v1/a", "m/v10/b", "m/v1/c"):
        objects.create(key, b"")
    assert list(objects.keys("m/v1/")) == ["m/v1/a", "m/v1/c"]
    assert list(objects.keys("m/")) == ["m/v1/a", "m/v1/c", "m/v10/b"]
    assert list(objects.folders("m/")) == ["v1", "v10"]
    assert list(objects.keys("none/")) == []
    assert list(objects.folders("none/")) == []
    assert not objects.exists("m/v1")
    assert not objects.exists("m/v1/a.b")


def test_keys_come_in_the_order_of_their_characters_whatever_they_are_kept_in(objects: ObjectStore) -> None:
    """A server that keeps folders lists a/x before a-b/x."""
    keys = ["a-b/x", "a.b/x", "a/x", "a/y", "a0", "ab"]
    for key in reversed(keys):
        objects.create(key, b"")
    assert list(objects.keys("")) == keys
    assert list(objects.folders("")) == ["a", "a-b", "a.b"]


def test_thousands_of_keys_and_folders_are_listed(objects: ObjectStore) -> None:
    """A page of S3's listing has 1,000."""
    folders = [f"{number:05}" for number in range(1050)]
    keys = [f"m/{name}/a" for name in folders]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: objects.create(key, b""), keys))
    assert list(objects.keys("m/")) == keys
    assert list(objects.folders("m/")) == folders


def test_a_deleted_object_is_gone_and_deleting_it_again_is_fine(objects: ObjectStore) -> None:
    objects.create("a/b", b"")
    objects.delete("a/b")
    objects.delete("a/b")
    assert list(objects.keys("")) == []


def test_a_key_that_could_leave_the_store_is_refused(objects: ObjectStore) -> None:
    for key in ("", "/a", "a/", "../a", "a/../b", "a//b", ".tmp/a", "a b", "a\x00"):
        for act in (objects.read, objects.exists, objects.delete, lambda key: objects.create(key, b"")):
            with pytest.raises(ValueError, match="key"):
                act(key)


def test_a_prefix_ends_with_a_slash(objects: ObjectStore) -> None:
    with pytest.raises(ValueError, match="slash"):
        list(objects.keys("m/v1"))


def test_a_full_disk_is_unavailable_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = LocalObjectStore(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreUnavailable, match="disk is full") as caught:
            objects.create("a", b"1")
    assert caught.value.retry_after > 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    objects.create("a", b"1")


def test_half_written_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    objects = LocalObjectStore(tmp_path)
    objects.create("a", b"1")
    (tmp_path / ".tmp" / "half").write_bytes(b"x")
    assert list(objects.keys("")) == ["a"]
    objects.remove_temporary_files()
    assert not (tmp_path / ".tmp" / "half").exists()


def test_who_only_reads_a_folder_writes_nothing_into_it(tmp_path: Path) -> None:
    """A model store may be mounted read-only."""
    assert not LocalObjectStore(tmp_path).exists("a")
    assert list(tmp_path.iterdir()) == []
