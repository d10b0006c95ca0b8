"""What is served in the soak run: one model that answers, an older version of it, and another with more than fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fuzz.subject import publish, random_forest
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore

MODEL, VERSION, OLDER = "default", "20240115100000", "20240101000000"
FEATURES = tuple(f"f{place}" for place in range(8))
# A model whose versions take turns in memory: they are loaded again and again.
VANS = "vans"
VANS_VERSIONS = tuple(f"202402{day:02}000000" for day in range(1, 7))
# Room for the default, its older version and two or three of these.
LOADED_BYTES = 2 * 1024 * 1024
_TREES, _INNER = 200, 63


@dataclass(frozen=True)
class Subject:
    """The model store, and the digest of the version that answers."""

    store: Path
    digest: str


def make_subject(folder: Path) -> Subject:
    """Publish all versions in ``folder``; the same in every run."""
    rng = np.random.default_rng(0)
    models = ModelStore(LocalObjectStore(folder))
    published = {
        (model, version): publish(models, model, version, random_forest(rng, FEATURES, trees=_TREES, inner=_INNER))
        for model, version in ((MODEL, VERSION), (MODEL, OLDER), *((VANS, version) for version in VANS_VERSIONS))
    }
    return Subject(folder, published[MODEL, VERSION].forest.digest)
