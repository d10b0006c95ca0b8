from __future__ import annotations

from pathlib import Path

import pytest

from standalone.evidence import gather
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from tests.predictor.forests import publish, stump_forest

VERSION = "20240115100000"
FOREST = stump_forest(("a", "b"))


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    return ModelStore(LocalObjectStore(tmp_path))


def test_the_artefact_is_scored_on_its_probe_rows(models: ModelStore) -> None:
    digest = publish(models, "default", VERSION, FOREST).forest.digest
    evidence = gather(models, "default", VERSION, registered_digest=digest)
    assert (evidence.fault, evidence.probe_rows) == (None, 1)
    assert (evidence.probe_difference, evidence.probe_flips) == (0.0, 0)


def test_probe_rows_that_no_tree_can_compare_are_a_fault_and_no_error(models: ModelStore) -> None:
    publish(models, "default", VERSION, FOREST, probe_value=float("nan"))
    evidence = gather(models, "default", VERSION, registered_digest="")
    assert evidence.fault == "probe row 0 cannot be scored: feature 0 is nan"
