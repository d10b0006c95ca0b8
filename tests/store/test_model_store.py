"""Files of the model store that are not what their manifest says, and manifests that are none."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import CorruptArtifact
from contract.manifest import Manifest
from contract.names import manifest_key
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from tests.predictor.forests import publish, stump_forest

VERSION = "20240115100000"


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    return ModelStore(LocalObjectStore(tmp_path))


@pytest.fixture
def manifest(models: ModelStore) -> Manifest:
    return publish(models, "default", VERSION, stump_forest(("a", "b")))


def test_a_file_of_10_gb_is_refused_unread(tmp_path: Path, models: ModelStore, manifest: Manifest) -> None:
    os.truncate(tmp_path / manifest.forest.key, 10 * 2**30)  # a hole: it takes no room on the disk
    tracemalloc.start()
    with pytest.raises(CorruptArtifact, match=f"has 10737418240 bytes; at most {manifest.forest.size} belong to it"):
        models.load(manifest)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_manifest_that_expects_10_gb_gets_none(tmp_path: Path, models: ModelStore, manifest: Manifest) -> None:
    path = tmp_path / manifest_key("default", VERSION)
    path.write_text(path.read_text().replace(f'"size": {manifest.forest.size}', f'"size": {10 * 2**30}'))
    os.truncate(tmp_path / manifest.forest.key, 10 * 2**30)
    with pytest.raises(CorruptArtifact, match="at most 1073741824"):
        models.load(models.manifest("default", VERSION))


def test_a_probe_that_has_grown_is_refused(tmp_path: Path, models: ModelStore, manifest: Manifest) -> None:
    os.truncate(tmp_path / manifest.probe.key, manifest.probe.size + 1)
    with pytest.raises(CorruptArtifact, match="belong to it"):
        models.probe(manifest)


def test_a_manifest_of_10_gb_is_refused_unread(tmp_path: Path, models: ModelStore, manifest: Manifest) -> None:
    os.truncate(tmp_path / manifest_key("default", manifest.version), 10 * 2**30)
    with pytest.raises(CorruptArtifact, match="at most 1048576"):
        models.manifest("default", VERSION)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null", b'{"model": "default"}', b"[" * 100_000])
def test_a_manifest_that_cannot_be_read_is_refused(
    tmp_path: Path, models: ModelStore, manifest: Manifest, content: bytes
) -> None:
    (tmp_path / manifest_key("default", manifest.version)).write_bytes(content)
    with pytest.raises(CorruptArtifact, match="manifest is not readable"):
        models.manifest("default", VERSION)


OTHERS = "models/vans/20240115100000/forest-0.safetensors"


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "", "a//b", "a\x00b", "models/", OTHERS])
def test_a_manifest_that_names_what_is_not_its_own_is_refused(
    tmp_path: Path, models: ModelStore, manifest: Manifest, key: str
) -> None:
    path = tmp_path / manifest_key("default", VERSION)
    path.write_text(path.read_text().replace(manifest.forest.key, key.replace("\x00", "\\u0000")))
    with pytest.raises(CorruptArtifact, match="a key that is not its own"):
        models.manifest("default", VERSION)


class CountedObjects(LocalObjectStore):
    """Counts what it is asked, as each question is a round trip to a bucket."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[str] = []

    def exists(self, key: str) -> bool:
        self.asked.append(f"exists {key}")
        return super().exists(key)

    def keys(self, prefix: str) -> Iterator[str]:
        self.asked.append(f"keys {prefix}")
        return super().keys(prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        self.asked.append(f"folders {prefix}")
        return super().folders(prefix)


def test_all_versions_of_a_model_take_one_question(tmp_path: Path) -> None:
    objects = CountedObjects(tmp_path)
    models = ModelStore(objects)
    versions = [f"202401151000{second:02}" for second in range(20)]
    for version in reversed(versions):
        publish(models, "default", version, stump_forest(("a",)))
    assert models.versions("default") == versions
    assert objects.asked == ["keys models/default/"]
    assert models.versions("other") == []


def test_a_version_is_visible_once_its_manifest_is_there(tmp_path: Path, models: ModelStore) -> None:
    for model in ("default", "vans"):
        publish(models, model, VERSION, stump_forest(("a",)))
    models.put_forest("default", "20250115100000", b"half of a version")
    models.put_forest("trucks", VERSION, b"half of a model")
    objects = LocalObjectStore(tmp_path)
    objects.create("models/default/not-a-version/manifest.json", b"{}")
    objects.create("models/default/manifest.json", b"{}")
    objects.create(f"models/default/{VERSION}/deeper/manifest.json", b"{}")
    assert models.versions("default") == [VERSION]
    assert models.versions("trucks") == []
    assert models.models() == ["default", "vans"]
    assert models.newest_versions() == {"default": VERSION, "vans": VERSION}


def test_the_newest_versions_take_two_questions_for_each_model(tmp_path: Path) -> None:
    objects = CountedObjects(tmp_path)
    models = ModelStore(objects)
    for version in (VERSION, "20250115100000"):
        publish(models, "default", version, stump_forest(("a",)))
    assert models.newest_versions() == {"default": "20250115100000"}
    assert objects.asked == [
        "folders models/",
        "folders models/default/",
        "exists models/default/20250115100000/manifest.json",
    ]
