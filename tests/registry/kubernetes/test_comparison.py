from __future__ import annotations

from typing import Any

import pytest

from registry.kubernetes.comparison import has_foreign_fields, is_as_wanted

US = "telltale-registry"


def managed(*entries: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"metadata": {"managedFields": [{"manager": name, "fieldsV1": fields} for name, fields in entries]}}


@pytest.mark.parametrize(
    ("wanted", "live", "same"),
    [
        ({"a": 1}, {"a": 1, "b": "a default"}, True),
        ({"a": {"b": [{"x": 1}]}}, {"a": {"b": [{"x": 1, "y": "a default"}], "c": 2}}, True),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {}, False),
        ({"env": []}, {}, True),
        ({"emptyDir": {}}, {}, True),
        ({"on": False}, {"on": True}, False),
    ],
)
def test_defaults_do_not_count_and_anything_else_that_differs_does(
    wanted: dict[str, Any], live: dict[str, Any], same: bool
) -> None:
    assert is_as_wanted(wanted, live, US) is same


def test_a_field_that_somebody_added_to_the_spec_is_foreign() -> None:
    ours = {"f:spec": {"f:replicas": {}}}
    theirs = {"f:spec": {"f:nodeSelector": {".": {}, "f:disk": {}}}}
    assert has_foreign_fields(managed((US, ours), ("kubectl-edit", theirs)), US)


def test_a_spec_that_is_owned_as_a_whole_is_foreign_once_somebody_took_it() -> None:
    assert not has_foreign_fields(managed((US, {"f:spec": {}})), US)
    assert has_foreign_fields(managed((US, {"f:metadata": {}}), ("kubectl-edit", {"f:spec": {}})), US)


def test_fields_that_we_own_as_well_and_metadata_and_status_are_not_foreign() -> None:
    ours = {"f:spec": {"f:rules": {}, "f:hostnames": {}}}
    theirs = {"f:spec": {".": {}, "f:rules": {"f:weight": {}}}, "f:metadata": {"f:finalizers": {}}}
    assert not has_foreign_fields(managed((US, ours), ("manager", theirs), ("manager", {"f:metadata": {}})), US)
    live = managed((US, ours))
    live["metadata"]["managedFields"].append(
        {"manager": "gateway", "subresource": "status", "fieldsV1": {"f:spec": {"f:x": {}}}}
    )
    assert not has_foreign_fields(live, US)


def test_what_we_own_by_several_entries_counts_together() -> None:
    both = managed((US, {"f:spec": {"f:a": {"f:x": {}}}}), (US, {"f:spec": {"f:a": {"f:y": {}}}}))
    both["metadata"]["managedFields"].append({"manager": "other", "fieldsV1": {"f:spec": {"f:a": {"f:y": {}}}}})
    assert not has_foreign_fields(both, US)
