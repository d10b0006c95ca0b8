"""What can be served: the models and versions of the model store, and which of them are loaded or default."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from contract.errors import CorruptArtifact
from contract.manifest import Manifest
from contract.names import is_model_name
from predictor.facade.answers import Model, Models, ModelVersion, Versions
from predictor.models.loaded_versions import LoadedVersions
from predictor.models.version_reader import VersionReader
from predictor.problems import Answer
from predictor.threads import Threads
from store.errors import ObjectMissing
from store.model_store import ModelStore


class Catalog:
    """Answers ``GET /models`` and ``GET /models/{name}/versions``."""

    def __init__(self, store: ModelStore, reader: VersionReader, loaded: LoadedVersions, threads: Threads) -> None:
        self._store = store
        self._reader = reader
        self._loaded = loaded
        self._threads = threads
        # Manifests are written once, so what was read stays true.
        self._manifest = lru_cache(maxsize=4096)(store.manifest)

    async def models(self) -> Answer:
        """Return all models that can be served."""
        newest = await self._threads.store(self._store.newest_versions)
        names = sorted(set(newest) | set(self._loaded.defaults))
        document = Models([self._model(name, newest.get(name)) for name in names])
        return Answer(200, msgspec.json.encode(document))

    async def versions(self, name: str) -> Answer:
        """Return a model's versions, newest first; UnknownModel if it has none."""
        versions, newest = await self._threads.store(self._versions, name)
        default = self._loaded.default(name)
        if default is not None:
            feature_names = list(default.forest.feature_names)
        else:
            feature_names = list(newest.feature_names) if newest else []
        document = Versions(name, default.version if default else None, feature_names, versions)
        return Answer(200, msgspec.json.encode(document))

    def _model(self, name: str, newest: str | None) -> Model:
        default = self._loaded.default(name)
        return Model(name, default.version if default else None, self._loaded.versions_of(name), newest)

    def _versions(self, name: str) -> tuple[list[ModelVersion], Manifest | None]:
        versions = self._store.versions(name) if is_model_name(name) else []
        if not versions:
            raise self._reader.no_default(name, self._store.models())
        newest_first = versions[::-1]
        return [self._version(name, version) for version in newest_first], self._manifest_of(name, newest_first[0])

    def _version(self, name: str, version: str) -> ModelVersion:
        default = self._loaded.default(name)
        is_default = default is not None and default.version == version
        is_loaded = version in self._loaded.versions_of(name)
        manifest = self._manifest_of(name, version)
        if manifest is None:
            return ModelVersion(version, is_default, is_loaded, error="its manifest is damaged or gone")
        return ModelVersion(
            version,
            is_default,
            is_loaded,
            digest=manifest.forest.digest,
            training_records=manifest.training_records,
            created_at=manifest.created_at,
            mlflow_run_id=manifest.mlflow_run_id,
            mlflow_version=manifest.mlflow_version,
        )

    def _manifest_of(self, name: str, version: str) -> Manifest | None:
        try:
            return self._manifest(name, version)
        except (CorruptArtifact, ObjectMissing):
            return None
