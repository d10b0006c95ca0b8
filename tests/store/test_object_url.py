"""How a setting names the place of objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.local_objects import LocalObjectStore
from store.object_url import Bucket, Folder, open_objects, place_of
from store.s3_objects import S3ObjectStore


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (".telltale/objects", Folder(Path(".telltale/objects"))),
        ("/var/lib/telltale", Folder(Path("/var/lib/telltale"))),
        ("file:///mnt/my%20models", Folder(Path("/mnt/my models"))),
        ("s3://models", Bucket("models")),
        ("s3://models/", Bucket("models")),
        ("s3://models/fleet/eu", Bucket("models", "fleet/eu/")),
        ("s3://models/fleet/eu/", Bucket("models", "fleet/eu/")),
    ],
)
def test_a_folder_or_a_bucket_is_named(url: str, place: Folder | Bucket) -> None:
    """A prefix always ends with a slash, so that `v1` is not the beginning of `v10`."""
    assert place_of(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:models",
        "file://models",
        "file:///",
        "http://x/y",
        "s3://",
        "s3:///x",
        "s3://ab",
        "s3://a_b/x",
        "s3://models//x",
    ],
)
def test_what_names_nothing_is_refused_with_what_came(url: str) -> None:
    """Rather than made into a folder of that name."""
    with pytest.raises(ValueError, match="got "):
        place_of(url)


def test_the_store_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket is not asked before it is used."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert isinstance(open_objects(str(tmp_path)), LocalObjectStore)
    assert isinstance(open_objects("s3://models/fleet"), S3ObjectStore)
