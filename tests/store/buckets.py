"""Stores in a bucket, opened with the environment as it is, and what can be asked of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from store.errors import StoreError
from store.s3_objects import S3ObjectStore, s3_client

if TYPE_CHECKING:
    from tests.seaweed import Seaweed

PART = 5 << 20
IN_PARTS = os.urandom(2 * PART + 1)


def opened(bucket: str, *, patience: float = 0.0) -> S3ObjectStore:
    """Open the store anew, with the environment as it is now."""
    return S3ObjectStore(s3_client(), bucket, part_bytes=PART, patience=patience)


def faults_of(objects: S3ObjectStore) -> list[StoreError]:
    """Return what each method raises."""
    found = []
    for act in (
        lambda: objects.create("a", b"1"),
        lambda: objects.create("a", IN_PARTS),
        lambda: objects.read("a"),
        lambda: objects.exists("a"),
        lambda: list(objects.keys("")),
        lambda: objects.delete("a"),
    ):
        with pytest.raises(StoreError) as caught:
            act()
        found.append(caught.value)
    return found


def unfinished(server: Seaweed, bucket: str) -> list[str]:
    return [upload["Key"] for upload in server.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
