"""Reading a model version from the model store, and saying what there is where it has none. Runs in threads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contract.errors import CorruptArtifact, shown
from contract.forest_file import Forest
from contract.manifest import Manifest
from contract.names import DEFAULT_MODEL, is_model_name
from contract.version_ids import is_version_id
from predictor.errors import NotLoadable, UnknownModel, UnknownVersion
from scoring.kernel import Scorer, scorer
from store.errors import ObjectMissing
from store.model_store import ModelStore

_NAMES_SHOWN = 20


@dataclass(frozen=True)
class LoadedVersion:
    """A version that can score."""

    model: str
    version: str
    digest: str
    forest: Forest
    scorer: Scorer

    @property
    def nbytes(self) -> int:
        """Memory that the version takes, in bytes."""
        return self.forest.nbytes + self.scorer.nbytes


class VersionReader:
    """Turns a version's name into a forest that was checked, or into an error that helps."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store

    def read(self, model: str, version: str) -> LoadedVersion:
        """Return a version, its digest and structure checked.

        Raises:
            UnknownModel, UnknownVersion: there is none such.
            NotLoadable: it is damaged.
            StoreUnavailable: it cannot be read now.

        """
        if not (is_model_name(model) and is_version_id(version)):
            raise self._no_version(model, version)
        try:
            manifest = self._store.manifest(model, version)
        except ObjectMissing:
            raise self._no_version(model, version) from None
        except CorruptArtifact as error:
            raise NotLoadable(f"version {version} of model {model!r}: {error}") from error
        try:
            forest = self._forest(manifest)
            return LoadedVersion(model, version, manifest.forest.digest, forest, scorer(forest))
        except (CorruptArtifact, ObjectMissing) as error:
            raise NotLoadable(f"version {version} of model {model!r}: {error}") from error

    def no_default(self, model: str, others: Iterable[str]) -> UnknownModel:
        """Return the error for a model without default version; ``others`` are the models that have one."""
        versions = self._store.versions(model) if is_model_name(model) else []
        if versions:
            detail = f"model {model!r} has no default version yet; name one in model_version: {newest_of(versions)}"
            return UnknownModel(detail)
        how = '{"records": [...]}' if model == DEFAULT_MODEL else f'{{"model": "{shown(model)}", "records": [...]}}'
        there = ", ".join(sorted(others))
        return UnknownModel(
            f"there is no model {shown(model)!r} yet: a first batch makes it, POST /ingest {how}"
            + (f"; there are: {shown(there, 1000)}" if there else "")
        )

    def _forest(self, manifest: Manifest) -> Forest:
        forest = self._store.load(manifest)
        if forest.feature_names != tuple(manifest.feature_names):
            raise CorruptArtifact("the manifest names other features than the forest file")
        return forest

    def _no_version(self, model: str, version: str) -> UnknownVersion | UnknownModel:
        versions = self._store.versions(model) if is_model_name(model) else []
        if not versions:
            return self.no_default(model, self._store.models())
        rule = "" if is_version_id(version) else " (a version is 14 digits, YYYYMMDDHHMMSS)"
        detail = f"model {model!r} has no version {shown(version)!r}{rule}; it has: {newest_of(versions)}"
        return UnknownVersion(detail)


def newest_of(versions: list[str]) -> str:
    """Return the newest of ``versions``, which come oldest first, as text of a bearable length."""
    more = len(versions) - _NAMES_SHOWN
    return ", ".join(versions[: -_NAMES_SHOWN - 1 : -1]) + (f" and {more} more" if more > 0 else "")
