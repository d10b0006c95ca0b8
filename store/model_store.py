"""The model store: forest files, probes and manifests, write-once, in an object store.

A version's manifest is written last and once, so a reader sees a version whole or not at all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contract.digests import digest_of
from contract.errors import CorruptArtifact
from contract.forest_file import LARGEST_FILE, Forest, decode_forest
from contract.manifest import Manifest, StoredFile, decode_manifest, decode_probe, encode_manifest
from contract.names import manifest_key, model_prefix, version_prefix
from contract.version_ids import is_version_id
from store.errors import ObjectMissing
from store.objects import ObjectStore, is_key

_LARGEST_MANIFEST = 1 << 20


class ModelStore:
    """Model versions in an object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def put_forest(self, model: str, version: str, data: bytes) -> StoredFile:
        """Write a version's forest file; its key holds its digest, so a second attempt never collides."""
        return self._put(model, version, "forest", data)

    def put_probe(self, model: str, version: str, data: bytes) -> StoredFile:
        """Write a version's probe rows with the scores that scikit-learn gave them."""
        return self._put(model, version, "probe", data)

    def _put(self, model: str, version: str, name: str, data: bytes) -> StoredFile:
        digest = digest_of(data)
        key = f"{version_prefix(model, version)}{name}-{digest.removeprefix('sha256:')[:16]}.safetensors"
        self._objects.create(key, data)
        return StoredFile(key=key, digest=digest, size=len(data))

    def publish(self, manifest: Manifest) -> None:
        """Write the manifest: from here on the version is visible.

        Raises:
            ObjectExists: the version is there already with other content.

        """
        self._objects.create(manifest_key(manifest.model, manifest.version), encode_manifest(manifest))

    def manifest(self, model: str, version: str) -> Manifest:
        """Return a version's manifest.

        Raises:
            ObjectMissing: there is no such version.
            CorruptArtifact: the manifest is damaged, or names another version or files of another one.

        """
        key = manifest_key(model, version)
        manifest = decode_manifest(self._objects.read(key, most_bytes=_LARGEST_MANIFEST))
        if (manifest.model, manifest.version) != (model, version):
            raise CorruptArtifact(f"the manifest of {model} {version} is that of {manifest.model} {manifest.version}")
        for file in (manifest.forest, manifest.probe):
            if not (is_key(file.key) and file.key.startswith(version_prefix(model, version))):
                raise CorruptArtifact(
                    f"the manifest of {model} {version} names a key that is not its own: {file.key!r}"
                )
        return manifest

    def load(self, manifest: Manifest) -> Forest:
        """Return a version's forest, digest and structure checked."""
        return decode_forest(self._read(manifest.forest), digest=manifest.forest.digest)

    def probe(self, manifest: Manifest) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a version's probe rows and their expected decision function."""
        return decode_probe(self._read(manifest.probe), digest=manifest.probe.digest)

    def _read(self, file: StoredFile) -> bytes:
        return self._objects.read(file.key, most_bytes=min(file.size, LARGEST_FILE))

    def models(self) -> list[str]:
        """Return the names of all models that have a visible version, sorted."""
        return list(self.newest_versions())

    def newest_versions(self) -> dict[str, str]:
        """Return the newest visible version of each model that has any, by model in order."""
        found = {model: self._newest(model) for model in self._objects.folders("models/")}
        return {model: newest for model, newest in found.items() if newest is not None}

    def versions(self, model: str) -> list[str]:
        """Return the visible versions of a model, oldest first; empty if there is no such model."""
        # By one listing: in a bucket each question costs a round trip.
        keys = self._objects.keys(model_prefix(model))
        versions = ((key, key.removeprefix(model_prefix(model)).partition("/")[0]) for key in keys)
        return sorted(v for key, v in versions if key == manifest_key(model, v) and is_version_id(v))

    def has(self, model: str, version: str) -> bool:
        """Tell whether a version is visible."""
        try:
            self.manifest(model, version)
        except ObjectMissing:
            return False
        return True

    def _newest(self, model: str) -> str | None:
        candidates = sorted(filter(is_version_id, self._objects.folders(model_prefix(model))), reverse=True)
        return next((version for version in candidates if self._objects.exists(manifest_key(model, version))), None)
