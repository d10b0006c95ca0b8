from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.results import merged, merged_notes, note_of, read, read_notes, write


def test_a_part_replaces_its_own_figures_and_keeps_the_others() -> None:
    assert merged({"b": 1.0, "a": 2.0}, {"b": 3.0, "c": 4.0}) == {"a": 2.0, "b": 3.0, "c": 4.0}


def test_figures_are_sorted_by_name() -> None:
    assert list(merged({"b": 1.0}, {"a": 1.0, "c": 1.0})) == ["a", "b", "c"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_json_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="rate: not a finite number"):
        merged({}, {"fine": 1.0, "rate": value})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write(tmp_path / "results.json", {"a": 1.5})
    assert read(tmp_path / "results.json") == {"a": 1.5}


def test_before_the_first_run_there_is_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "results.json") == {}
    assert read_notes(tmp_path / "notes.json") == {}


def test_a_note_goes_when_its_part_is_measured_and_stays_when_it_did_not_run() -> None:
    old = {"fastapi": "not installed", "mlflow": "no answer", "bentoml": "ended with 1"}
    assert merged_notes(old, {"bentoml": "no answer"}, {"fastapi", "bentoml"}) == {
        "mlflow": "no answer",
        "bentoml": "no answer",
    }


def test_a_note_is_one_line_that_names_nothing_of_the_machine() -> None:
    refusal = RuntimeError(
        "at /home/someone/telltale/benchmarks/bare.py\n  failed to fetch `https://host.example/simple/`"
    )
    assert note_of(refusal, root=Path("/home/someone/telltale")) == (
        "at benchmarks/bare.py failed to fetch `(address)`"
    )


def test_of_a_long_note_the_end_stays_where_the_cause_is() -> None:
    text = note_of(RuntimeError("x" * 1000 + " the cause"), root=Path("/nowhere"))
    assert text.startswith("... xx")
    assert text.endswith("xx the cause")
    assert len(text) < 320
