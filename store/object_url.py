"""Where objects are kept, as a setting names it: a folder, or a bucket of S3.

    .telltale/objects          a folder, relative to where the process was started
    file:///var/lib/telltale   a folder
    s3://bucket                a bucket
    s3://bucket/some/prefix    the part of a bucket under some/prefix/

Endpoint, region and credentials of S3 are not part of it: they come from the environment, as every AWS tool takes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator

from store.local_objects import LocalObjectStore
from store.objects import ObjectStore, checked_prefix

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# What S3 allows today: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    path: Path


@dataclass(frozen=True)
class Bucket:
    """A bucket of S3, or the part of it under ``prefix``, which is empty or ends with a slash."""

    name: str
    prefix: str = ""


def place_of(url: str) -> Folder | Bucket:
    """Return what a setting names; ValueError says what is wrong with it."""
    if url and not _SCHEME.match(url):
        return Folder(Path(url))
    if url.startswith("file:///") and len(url) > len("file:///"):
        return Folder(Path(unquote(urlsplit(url).path)))
    if url.startswith("s3://"):
        return _bucket(url)
    raise ValueError(f"an object store is a folder, file:///folder or s3://bucket/prefix; got {url!r}")


def _bucket(url: str) -> Bucket:
    name, _, prefix = url.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(name):
        raise ValueError(
            f"a bucket's name has 3 to 63 of a-z, 0-9, '.' and '-', a letter or digit at both ends; got {name!r}"
        )
    prefix = prefix.rstrip("/")
    return Bucket(name, checked_prefix(f"{prefix}/" if prefix else ""))


def _checked(url: str) -> str:
    place_of(url)
    return url


# A setting's type: refused where it is read, not where it is used.
ObjectStoreUrl = Annotated[str, AfterValidator(_checked)]


def open_objects(url: str) -> ObjectStore:
    """Open the object store that ``url`` names.

    Raises:
        ValueError: ``url`` names none.
        StoreUnavailable: the folder cannot be made. A bucket is not asked yet.

    """
    place = place_of(url)
    if isinstance(place, Folder):
        return LocalObjectStore(place.path)
    # The client library takes a third of a second to import, which who keeps files need not pay.
    from store.s3_objects import S3ObjectStore, s3_client  # noqa: PLC0415

    return S3ObjectStore(s3_client(), place.name, place.prefix)
