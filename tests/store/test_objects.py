"""What every object store must do; the S3 implementation joins the fixture's list when it comes."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contract.digests import digest_of
from contract.errors import CorruptArtifact
from store import local_objects
from store.errors import ObjectExists, ObjectMissing, StoreUnavailable
from store.local_objects import LocalObjectStore
from store.objects import ObjectStore


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return LocalObjectStore(tmp_path / "objects")


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
        assert sum(pool.map(attempt, range(32))) == 1


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
    assert list(objects.folders("m/")) == ["v1", "v10"]
    assert list(objects.keys("none/")) == []
    assert list(objects.folders("none/")) == []


def test_a_deleted_object_is_gone_and_deleting_it_again_is_fine(objects: ObjectStore) -> None:
    objects.create("a/b", b"")
    objects.delete("a/b")
    objects.delete("a/b")
    assert list(objects.keys("")) == []


@pytest.mark.parametrize("key", ["", "/a", "a/", "../a", "a/../b", "a//b", ".tmp/a", "a b", "a\x00"])
def test_a_key_that_could_leave_the_store_is_refused(objects: ObjectStore, key: str) -> None:
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
        patched.setattr(local_objects.os, "fsync", full)
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
