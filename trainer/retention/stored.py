"""From a listing of the model store to its versions. PURE.

Keys that are not written as we write them belong to somebody else, and are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from store.objects import StoredObject
from trainer.retention.facts import StoredVersion

_FILE = re.compile(
    r"models/(?P<model>[a-z0-9][a-z0-9_-]{0,62})/(?P<version>[0-9]{14})/"
    r"(?:(?P<manifest>manifest\.json)|(?:forest|probe)-[0-9a-f]{16}\.safetensors)"
)
_BATCH = re.compile(
    r"batches/(?P<model>[a-z0-9][a-z0-9_-]{0,62})/(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.parquet"
)


def stored_versions(objects: Iterable[StoredObject]) -> Iterator[tuple[str, StoredVersion]]:
    """Yield each version in a listing of ``models/`` with its model's name."""
    ours = ((found, file) for file in objects if (found := _FILE.fullmatch(file.key)))
    for (model, version), group in groupby(ours, key=lambda one: (one[0]["model"], one[0]["version"])):
        manifest, files = None, list[StoredObject]()
        for found, file in group:
            if found["manifest"]:
                manifest = file
            else:
                files.append(file)
        yield model, StoredVersion(version, manifest, tuple(files))


def batch_objects(objects: Iterable[StoredObject]) -> Iterator[tuple[str, str, StoredObject]]:
    """Yield each batch's object in a listing of ``batches/``, after its model's name and its batch's id."""
    for file in objects:
        if found := _BATCH.fullmatch(file.key):
            yield found["model"], found["id"], file
