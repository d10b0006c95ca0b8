"""Versions in memory, for what takes note of what they score."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictor.hotpath.exchange import Scored
from predictor.models.version_reader import LoadedVersion
from scoring.kernel import scorer
from tests.predictor.forests import stump_forest


def version(model: str = "default", version: str = "20240101000000", *, features: int = 3) -> LoadedVersion:
    """Return a version that is loaded."""
    forest = stump_forest(tuple(f"f{number}" for number in range(features)))
    return LoadedVersion(model, version, f"sha256:{'0' * 64}", forest, scorer(forest))


def batch(n: int, *, of: LoadedVersion | None = None, **changes: Any) -> Scored:
    """Return ``n`` rows that were scored, half of them flagged."""
    loaded = of or version()
    given: dict[str, Any] = {
        "decision": np.linspace(-0.5, 0.5, n),
        "X": np.arange(float(n * loaded.forest.n_features)).reshape(n, -1),
        "seconds": 0.02,
        "request_id": "batch",
        "protocol": "v2-rest",
    }
    return Scored(loaded, **(given | changes))
