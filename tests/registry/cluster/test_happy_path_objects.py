"""The page of a rollout's objects has what the cluster has."""

from __future__ import annotations

import os
from pathlib import Path

from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.happy_path_objects import cleaned, happy_path, objects_of, page, shape
from tests.registry.cluster.mlflow_process import MlflowProcess, Versions

PAGE = Path(__file__).parents[3] / "docs" / "registry-objects.md"


def test_the_page_has_the_objects_of_the_happy_path_as_they_are(
    cluster: Cluster, versions: Versions, mlflow: MlflowProcess, model: str
) -> None:
    with happy_path(cluster, versions, mlflow.url, model) as path:
        text = page(cleaned(path.play(), cluster.namespace, model))
    if os.environ.get("TELLTALE_TEST_WRITE_PAGES"):
        PAGE.write_text(text, encoding="utf-8")
    found, told = objects_of(text), objects_of(PAGE.read_text(encoding="utf-8"))
    assert list(found) == list(told)
    for title, objects in found.items():
        if title == "The Events":
            assert {event["reason"] for event in objects} == {event["reason"] for event in told[title]}
        assert shape(objects) == shape(told[title]), f"{title}: write the page anew by `make objects-page`"
