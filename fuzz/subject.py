"""What the server under test serves: a few small forests of random shape, written into a model store.

No scikit-learn is needed: a forest is arrays, and here they only have to be walked, not to be any good.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from contract.forest_file import Forest, encode_forest
from contract.manifest import Manifest, encode_probe
from scoring.kernel import Scorer, scorer
from scoring.reference import decision_function
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore

MODEL = "default"
VERSION, OLDER = "20240115100000", "20240101000000"
# Names with what JSON pointers, JSON and column names escape.
_FEATURES = ("speed", "oil/temp~1", 'rpm "x"', "druck_µ")
_VANS = ("load", "tyre")


@dataclass(frozen=True)
class Served:
    """A version that can be asked for, and what scores it in this process."""

    model: str
    version: str
    digest: str
    forest: Forest
    scorer: Scorer


@dataclass(frozen=True)
class Subject:
    """The model store and all that is in it; the first version is the one that answers by default."""

    store: Path
    digest: str
    versions: tuple[Served, ...]

    @property
    def default(self) -> Served:
        """The version that the server is pinned to."""
        return self.versions[0]


def make_subject(folder: Path, seed: int, *, with_vans: bool = True) -> Subject:
    """Publish two versions of :data:`MODEL` in ``folder``, and one of another model if ``with_vans``."""
    rng = np.random.default_rng(seed)
    models = ModelStore(LocalObjectStore(folder))
    wanted = ((MODEL, VERSION, _FEATURES), (MODEL, OLDER, _FEATURES), ("vans", OLDER, _VANS))
    published = [
        (model, version, random_forest(rng, features)) for model, version, features in wanted[: 3 if with_vans else 2]
    ]
    digests = [publish(models, *one).forest.digest for one in published]
    versions = tuple(
        Served(model, version, digest, forest, scorer(forest))
        for (model, version, forest), digest in zip(published, digests, strict=True)
    )
    return Subject(folder, digests[0], versions)


def random_forest(
    rng: np.random.Generator, feature_names: tuple[str, ...], *, trees: int = 20, inner: int = 31
) -> Forest:
    """Return a forest of ``trees`` trees with ``inner`` inner nodes each, whose leaves differ."""
    parts = [_random_tree(rng, len(feature_names), inner, tree * (2 * inner + 1)) for tree in range(trees)]
    feature, child = (np.concatenate([part[place] for part in parts]).astype(np.int32) for place in (0, 1))
    is_leaf = feature < 0
    n = len(feature)
    return Forest(
        threshold=np.where(is_leaf, 0, rng.normal(0, 2, n)).astype(np.float32),
        feature=feature,
        child=child,
        leaf_value=np.where(is_leaf, rng.uniform(1, 12, n), 0.0),
        root=np.arange(0, n, 2 * inner + 1, dtype=np.int32),
        feature_names=feature_names,
        offset=-0.5,
        normalizer=trees * 6.0,
        training_digest=f"sha256:{'0' * 64}",
        libraries={"numpy": np.__version__},
    )


def publish(models: ModelStore, model: str, version: str, forest: Forest) -> Manifest:
    """Write a version into the model store as a trainer does; returns its manifest."""
    return publish_file(models, model, version, forest, encode_forest(forest))


def publish_file(models: ModelStore, model: str, version: str, forest: Forest, data: bytes) -> Manifest:
    """Write a version whose forest file is ``data``, whatever that is; the rest is as ``forest`` has it."""
    X = np.zeros((1, forest.n_features))
    manifest = Manifest(
        model=model,
        version=version,
        forest=models.put_forest(model, version, data),
        probe=models.put_probe(model, version, encode_probe(X, decision_function(forest, X))),
        feature_names=forest.feature_names,
        batch_id="b",
        training_digest=forest.training_digest,
        training_records=1,
        mlflow_run_id="run",
        mlflow_version="1",
        created_at=datetime(2024, 1, 15, 10, tzinfo=UTC),
    )
    models.publish(manifest)
    return manifest


def _random_tree(rng: np.random.Generator, n_features: int, inner: int, start: int) -> tuple[list[int], list[int]]:
    """Grow a tree node by node; returns its features and children, whose places begin at ``start``."""
    feature, child, leaves = [-1], [0], [0]
    for _ in range(inner):
        place = leaves.pop(int(rng.integers(len(leaves))))
        feature[place] = int(rng.integers(n_features))
        child[place] = start + len(feature)
        leaves += [len(feature), len(feature) + 1]
        feature += [-1, -1]
        child += [0, 0]
    return feature, child
