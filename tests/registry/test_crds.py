from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from registry import crds
from registry.api.base import ApiModel, rules
from registry.api.served_model import ServedModelSpec
from registry.api_reference import BEGIN, END, fields, page_with
from registry.crds import KINDS, Kind, crd, differing, schema
from registry.structural import NotStructuralError, Schema, structural

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "charts" / "telltale" / "crds"
PAGE = ROOT / "docs" / "registry-api.md"
LEAST: dict[str, Any] = {
    "model": {"name": "cars", "alias": "champion"},
    "predictor": {"image": "a", "modelStore": "s3://models"},
    "route": {"gatewayRef": {"name": "telltale"}, "hostnames": ["cars.example.com"]},
}
SHORT_NAMES = [kind.short_name for kind in KINDS]


def each(found: Schema, where: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every schema below one, with its path."""
    yield where, found
    for name, below in found.get("properties", {}).items():
        yield from each(below, f"{where}.{name}")
    for part in ("items", "additionalProperties"):
        if part in found:
            yield from each(found[part], f"{where}[]")


def part(kind: Kind, name: str) -> Schema:
    """Return the schema of a kind's spec or status."""
    found: Schema = schema(kind)["properties"][name]
    return found


def test_the_charts_files_are_as_the_models_want_them() -> None:
    assert differing(FOLDER) == []
    assert {path.name for path in FOLDER.iterdir()} == set(crds.files())


def test_the_page_in_the_docs_has_every_field_as_the_models_have_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page_with(text, fields()) == text, "run `python -m registry.api_reference docs/registry-api.md`"


def test_a_file_that_somebody_edited_is_told_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crds.main([str(tmp_path)]) == 0
    assert crds.main(["--check", str(tmp_path)]) == 0
    edited = tmp_path / "servedmodels.yaml"
    edited.write_text(edited.read_text().replace("maxLength: 63", "maxLength: 64", 1))
    (tmp_path / "rolloutactions.yaml").unlink()
    assert crds.main(["--check", str(tmp_path)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [re.sub(r".*/(\w+\.yaml) is not .*", r"\1", line) for line in said] == [
        "servedmodels.yaml",
        "rolloutactions.yaml",
    ]


def test_without_a_folder_they_are_printed_as_kubectl_takes_them() -> None:
    printed = subprocess.run([sys.executable, "-m", "registry.crds"], capture_output=True, text=True, check=True)
    assert list(yaml.safe_load_all(printed.stdout)) == [crd(kind) for kind in KINDS]


@pytest.mark.parametrize("kind", KINDS, ids=SHORT_NAMES)
def test_every_field_says_what_it_is(kind: Kind) -> None:
    for name in ("spec", "status"):
        for where, found in each(part(kind, name), name):
            if not where.endswith("[]"):
                assert found.get("description"), where


@pytest.mark.parametrize("kind", KINDS, ids=SHORT_NAMES)
def test_everything_in_a_spec_is_bounded_so_that_its_rules_have_a_known_cost(kind: Kind) -> None:
    bounds = {"string": {"maxLength", "enum", "pattern"}, "array": {"maxItems"}, "integer": {"maximum"}}
    for where, found in each(part(kind, "spec"), "spec"):
        wanted = bounds.get(found.get("type", ""), set())
        if "additionalProperties" in found:
            wanted = {"maxProperties"}
        assert not wanted or wanted & found.keys(), where
        if found.get("type") == "string" and "enum" not in found and "maxLength" not in found:
            assert re.search(r"\{\d+\}\$$", found["pattern"]), f"{where}: its pattern sets no length"


@pytest.mark.parametrize("kind", KINDS, ids=SHORT_NAMES)
def test_no_status_is_ever_too_long_to_be_written(kind: Kind) -> None:
    for where, found in each(part(kind, "status"), "status"):
        if ".conditions[]" not in where and ".match" not in where:
            assert not {"maxLength", "maxItems", "pattern", "maximum"} & found.keys(), where
        assert where == "status" or "default" not in found, "a status is written as a whole"


@pytest.mark.parametrize("kind", KINDS, ids=SHORT_NAMES)
def test_nothing_is_left_that_kubernetes_does_not_know(kind: Kind) -> None:
    text = yaml.safe_dump(schema(kind))
    for foreign in ("title:", "$ref", "$defs", "'null'", "const:", "uniqueItems"):
        assert foreign not in text


def with_defaults(found: Schema, value: Any) -> Any:
    """Return a value as the API server fills it in."""
    if isinstance(value, list):
        return [with_defaults(found["items"], one) for one in value]
    if not isinstance(value, dict) or "properties" not in found:
        return value
    properties = found["properties"]
    left_out = {
        name: below["default"] for name, below in properties.items() if "default" in below and name not in value
    }
    return {name: with_defaults(properties[name], one) for name, one in (left_out | value).items()}


def test_the_api_server_fills_in_what_the_models_fill_in() -> None:
    whole = LEAST | {
        "rollout": {"steps": [{"shadow": {}}]},
        "freezeWindows": [{"schedule": "0 0 * * *", "durationSeconds": 60}],
    }
    spec = ServedModelSpec.model_validate(whole).dump()
    empty = {"gates": [], "predictor": {"env": {}}, "route": {"grpcHostnames": []}}
    filled = with_defaults(structural(ServedModelSpec, defaults=True), whole)
    filled["predictor"] |= empty["predictor"]
    filled["route"] |= empty["route"]
    assert filled | {"gates": []} == spec


def test_an_amount_may_be_written_as_a_number() -> None:
    found = structural(ServedModelSpec, defaults=True)["properties"]["predictor"]["properties"]["resources"]
    cpu = found["properties"]["requests"]["properties"]["cpu"]
    assert cpu["x-kubernetes-int-or-string"] is True
    assert "type" not in cpu
    predictor = LEAST["predictor"] | {"resources": {"requests": {"cpu": 1, "memory": "1Gi"}}}
    read = ServedModelSpec.model_validate(LEAST | {"predictor": predictor})
    assert read.predictor.resources.requests.cpu == "1"


def test_a_condition_is_kubernetes_own() -> None:
    found = part(KINDS[0], "status")["properties"]["conditions"]
    assert found["x-kubernetes-list-type"] == "map"
    assert found["x-kubernetes-list-map-keys"] == ["type"]
    assert set(found["items"]["properties"]) == {
        "type",
        "status",
        "reason",
        "message",
        "observedGeneration",
        "lastTransitionTime",
    }
    assert found["items"]["properties"]["lastTransitionTime"]["format"] == "date-time"


class OneOrMany(BaseModel):
    names: str | list[str]


class Anything(BaseModel):
    value: Any


class Exclusive(BaseModel):
    share: float = Field(gt=0)


class Ruled(ApiModel):
    """A model with a rule."""

    model_config = ConfigDict(json_schema_extra=rules(("true", "one")))


class RuledTwice(ApiModel):
    ruled: Ruled = Field(json_schema_extra=rules(("true", "another")))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (OneOrMany, r"OneOrMany\.names: a field has one type, not one of 2"),
        (Anything, r"Anything\.value: a field has a type"),
        (Exclusive, r"Exclusive\.share: a structural schema has no exclusiveMinimum"),
        (RuledTwice, r"RuledTwice\.ruled: rules stand at the field or at its model"),
    ],
)
def test_what_a_structural_schema_cannot_say_is_refused(model: type[BaseModel], said: str) -> None:
    with pytest.raises(NotStructuralError, match=said):
        structural(model, defaults=True)


def test_a_page_without_its_place_for_the_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="begin"):
        page_with("# The API\n", "fields")
    assert page_with(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\nnew\n{END}\nb\n"
