"""What the protocol tells about models: their names, versions, tensors, and whether they can serve.

A version is ready if it can serve, which is not the same as being in memory: versions are loaded when they are asked
for. So to ask for one version's readiness loads it. The index, which lists them all, believes manifests instead.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import msgspec

from contract.errors import CorruptArtifact
from contract.manifest import Manifest
from contract.names import is_model_name
from predictor.errors import NotLoadable
from predictor.models.loaded_versions import LoadedVersions
from predictor.models.version_reader import VersionReader
from predictor.threads import Threads
from predictor.v2.outputs import DATATYPES
from store.errors import ObjectMissing
from store.model_store import ModelStore

INPUT_NAME = "features"
PLATFORM = "telltale_isolation_forest"
_MANIFESTS = 4096


class TensorMetadata(msgspec.Struct, frozen=True):
    """A tensor that a model takes or gives; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class IndexEntry(msgspec.Struct, frozen=True):
    """A version in the repository's index."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = ""


class ModelMetadata(msgspec.Struct, frozen=True):
    """A model; ``versions`` are the newest first, as in ``GET /models/{name}/versions``."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, Any]


class ServedModels:
    """The models and versions of the model store, and which of them can serve.

    Args:
        store: the model store; asked in threads.
        reader: says what there is where something is asked for that is not there.
        loaded: the versions in memory.
        threads: where the store is asked.

    """

    def __init__(self, store: ModelStore, reader: VersionReader, loaded: LoadedVersions, threads: Threads) -> None:
        self._store = store
        self._reader = reader
        self._loaded = loaded
        self._threads = threads
        # Manifests are written once, so what was read stays true.
        self._manifest = lru_cache(_MANIFESTS)(store.manifest)

    async def names(self) -> list[str]:
        """Return the models that have a version, sorted."""
        return sorted({*await self._threads.store(self._store.models), *self._loaded.defaults})

    async def metadata(self, model: str, version: str | None) -> ModelMetadata:
        """Return what a model, or one of its versions, takes and gives.

        Raises:
            UnknownModel, UnknownVersion: there is none such.
            NotLoadable: its manifest is damaged.
            StoreUnavailable: the store cannot be asked now.

        """
        loaded = self._loaded.default(model) if version is None else self._loaded.resident(model, version)
        versions = await self._threads.store(self._versions, model, version)
        if loaded is not None:
            return _metadata(model, versions, list(loaded.forest.feature_names))
        manifest = await self._threads.store(self._manifest_of, model, version or versions[0])
        return _metadata(model, versions, list(manifest.feature_names))

    async def is_ready(self, model: str, version: str | None) -> bool:
        """Tell whether a model can serve by its default version, or by the one named, which is loaded if need be.

        Raises:
            UnknownModel, UnknownVersion: there is none such.
            StoreUnavailable: the store cannot be asked now.

        """
        if version is None:
            if self._loaded.default(model) is None:
                await self._threads.store(self._versions, model, None)
                return False
            return True
        try:
            await self._loaded.get(model, version)
        except NotLoadable:
            return False
        return True

    async def index(self, *, ready_only: bool) -> list[IndexEntry]:
        """Return every version, by model and the newest first; with ``ready_only`` those that can serve."""
        entries = await self._threads.store(self._entries)
        return [entry for entry in entries if entry.state == "READY" or not ready_only]

    def _versions(self, model: str, version: str | None) -> list[str]:
        """Return a model's versions, newest first; raises unless ``version``, if any, is one of them."""
        versions = self._store.versions(model) if is_model_name(model) else []
        if not versions:
            raise self._reader.no_default(model, self._store.models())
        if version is not None and version not in versions:
            self._reader.read(model, version)  # raises what says which versions there are
        return versions[::-1]

    def _manifest_of(self, model: str, version: str) -> Manifest:
        try:
            return self._manifest(model, version)
        except (CorruptArtifact, ObjectMissing) as error:
            raise NotLoadable(f"version {version} of model {model!r}: {error}") from error

    def _entries(self) -> list[IndexEntry]:
        return [
            self._entry(model, version)
            for model in self._store.models()
            for version in reversed(self._store.versions(model))
        ]

    def _entry(self, model: str, version: str) -> IndexEntry:
        failure = self._loaded.failures.get(model)
        if failure is not None and failure.version == version:
            return IndexEntry(model, version, "UNAVAILABLE", failure.detail)
        try:
            self._manifest(model, version)
        except (CorruptArtifact, ObjectMissing) as error:
            return IndexEntry(model, version, "UNAVAILABLE", str(error))
        return IndexEntry(model, version, "READY")


def _metadata(model: str, versions: list[str], feature_names: list[str]) -> ModelMetadata:
    return ModelMetadata(
        name=model,
        versions=versions,
        platform=PLATFORM,
        inputs=[TensorMetadata(INPUT_NAME, "FP64", [-1, len(feature_names)])],
        outputs=[TensorMetadata(name, datatype, [-1]) for name, datatype in DATATYPES.items()],
        parameters={"feature_names": feature_names},
    )
