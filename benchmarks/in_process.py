"""The kernel alone on a batch: `python -m benchmarks.in_process MODEL_STORE ROWS_FILE SECONDS` prints rows/s.

A process of its own, so that it can have the server's core for itself.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.subject import MODEL, VERSION
from scoring.kernel import scorer
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore


def main(arguments: list[str]) -> None:
    """Score the rows again and again for a while."""
    store, rows, seconds = arguments
    models = ModelStore(LocalObjectStore(Path(store)))
    score = scorer(models.load(models.manifest(MODEL, VERSION))).score
    X = np.load(rows)
    score(X)  # the first touches pages that the others find warm
    start, times = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < float(seconds) or not times:
        score(X)
        times += 1
    json.dump(times * len(X) / passed, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
