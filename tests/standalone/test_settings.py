"""The settings of `telltale serve`."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from standalone.settings import StandaloneSettings, parts_environment


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USE_LOCAL_STORAGE", "TELLTALE_OBJECT_STORE"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_kept_is_in_the_data_folder_unless_a_store_is_named(tmp_path: Path) -> None:
    assert StandaloneSettings(data=tmp_path).object_store_or_folder == str(tmp_path / "objects")
    assert StandaloneSettings(object_store="s3://fleet/eu").object_store_or_folder == "s3://fleet/eu"


@pytest.mark.parametrize("said", ["true", ""])
def test_local_storage_may_be_said_aloud(said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Container platforms set it; an empty variable is none."""
    monkeypatch.setenv("USE_LOCAL_STORAGE", said)
    monkeypatch.setenv("TELLTALE_OBJECT_STORE", "")
    assert StandaloneSettings(data=tmp_path).object_store_or_folder == str(tmp_path / "objects")


@pytest.mark.parametrize(
    ("local", "store", "said"),
    [
        ("false", None, "USE_LOCAL_STORAGE=false needs another storage: set TELLTALE_OBJECT_STORE"),
        ("true", "s3://fleet", "USE_LOCAL_STORAGE=true contradicts TELLTALE_OBJECT_STORE=s3://fleet"),
        (None, "gs://fleet", "got 'gs://fleet'"),
    ],
)
def test_contradictions_are_refused(
    local: str | None, store: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("USE_LOCAL_STORAGE", local), ("TELLTALE_OBJECT_STORE", store)):
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=said):
        StandaloneSettings()


def test_every_part_is_told_where_objects_are(tmp_path: Path) -> None:
    environment = parts_environment(StandaloneSettings(object_store="s3://fleet"), tmp_path, "postgresql://x", "y://x")
    assert environment["TELLTALE_OBJECT_STORE"] == "s3://fleet"


@pytest.mark.parametrize(
    ("environment", "port"),
    [({}, 8000), ({"PORT": "10000"}, 10000), ({"PORT": "10000", "TELLTALE_PORT": "8010"}, 8010), ({"PORT": ""}, 8000)],
)
def test_the_port_is_the_platforms_unless_ours_is_set(
    environment: dict[str, str], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PORT", "TELLTALE_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert StandaloneSettings().port == port
    assert StandaloneSettings(port=8020).port == 8020, "an option of the command line beats both"
    assert StandaloneSettings(port=8020).grpc_port_or_next == 8021


def test_an_empty_tracking_uri_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    environment = parts_environment(StandaloneSettings(data=tmp_path), tmp_path, "postgresql://x", "y://x")
    assert environment["MLFLOW_TRACKING_URI"] == "y://x"
