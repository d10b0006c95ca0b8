from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from threading import Event

import pytest

from registry.api.model_revision import ModelRevisionStatus
from registry.errors import MlflowUnavailable, NotRegistered
from registry.records import is_note_of, mlflow_alias, mlflow_tags
from registry.work_queue import Key
from registry.write_back import WriteBack


class Notes:
    """MLflow, as far as notes go."""

    def __init__(self) -> None:
        self.tags: dict[tuple[str, str], dict[str, str]] = {}
        self.aliases: dict[tuple[str, str], str] = {}
        self.fault: Exception | None = None
        self.writes = 0

    def set_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:
        self._write()
        self.tags.setdefault((model, number), {}).update(tags)

    def set_alias(self, model: str, alias: str, number: str) -> None:
        self._write()
        self.aliases[model, alias] = number

    def _write(self) -> None:
        self.writes += 1
        if self.fault is not None:
            raise self.fault


def test_only_the_newest_wish_is_written_and_nothing_twice() -> None:
    notes = Notes()
    write_back = WriteBack(notes)
    write_back.want_tags("cars", "1", {"weight": "10"})
    write_back.want_tags("cars", "1", {"weight": "50"})
    write_back.want_alias("cars", "serving", "1")
    assert write_back.flush()
    assert notes.tags == {("cars", "1"): {"weight": "50"}}
    assert notes.aliases == {("cars", "serving"): "1"}
    writes = notes.writes
    write_back.want_tags("cars", "1", {"weight": "50"})
    write_back.flush()
    assert notes.writes == writes


def test_what_mlflow_did_not_take_is_written_at_the_next_flush() -> None:
    notes = Notes()
    write_back = WriteBack(notes)
    write_back.want_tags("cars", "1", {"weight": "10"})
    notes.fault = MlflowUnavailable("away")
    assert not write_back.flush()
    notes.fault = None
    assert write_back.flush()
    assert notes.tags == {("cars", "1"): {"weight": "10"}}


def test_a_version_that_is_gone_keeps_nobody_waiting() -> None:
    notes = Notes()
    write_back = WriteBack(notes)
    write_back.want_tags("cars", "1", {"weight": "10"})
    notes.fault = NotRegistered("gone")
    assert write_back.flush()
    write_back.want_tags("cars", "1", {"weight": "10"})
    writes = notes.writes
    write_back.flush()
    assert notes.writes == writes


def test_a_wish_that_comes_while_the_former_is_written_is_not_lost() -> None:
    class Slow(Notes):
        def set_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:
            if tags["weight"] == "10":
                write_back.want_tags("cars", "1", {"weight": "50"})
            super().set_tags(model, number, tags)

    notes = Slow()
    write_back = WriteBack(notes)
    write_back.want_tags("cars", "1", {"weight": "10"})
    write_back.flush()
    write_back.flush()
    assert notes.tags == {("cars", "1"): {"weight": "50"}}


def test_a_replica_that_leads_again_takes_nothing_as_written() -> None:
    notes = Notes()
    write_back = WriteBack(notes)
    write_back.want_alias("cars", "serving", "1")
    write_back.flush()
    notes.aliases["cars", "serving"] = "2"
    write_back.forget()
    write_back.want_alias("cars", "serving", "1")
    write_back.flush()
    assert notes.aliases["cars", "serving"] == "1"


def test_a_replica_that_ceases_to_lead_in_the_middle_notes_nothing_more() -> None:
    leads = [True]

    class Last(Notes):
        def set_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:
            super().set_tags(model, number, tags)
            leads[0] = False

    notes = Last()
    write_back = WriteBack(notes, lambda: leads[0])
    for number in ("1", "2", "3"):
        write_back.want_tags("cars", number, {"weight": "10"})
    assert write_back.flush()
    assert (notes.writes, write_back.pending()) == (1, 0)


def test_what_was_let_go_of_is_not_remembered() -> None:
    write_back = WriteBack(Notes())
    for number in ("1", "2"):
        write_back.want_tags("cars", number, {"weight": "10"})
    write_back.flush()
    write_back.let_go("cars", "1", {"weight": "10"})
    assert not write_back.has_taken("cars", "1", {"weight": "10"})
    assert write_back.has_taken("cars", "2", {"weight": "10"})


def test_nothing_is_remembered_of_a_served_model_that_is_gone_and_what_waits_is_written() -> None:
    notes = Notes()
    write_back = WriteBack(notes)
    cars, other = Key("fleet", "cars"), Key("fleet", "cars2")
    said = {key: mlflow_tags(key, "cars-1", ModelRevisionStatus()) for key in (cars, other)}
    for key, tags in said.items():
        write_back.want_tags("m", "1", tags)
        write_back.want_alias("m", mlflow_alias(key), "1")
    write_back.flush()
    write_back.want_alias("m", mlflow_alias(cars), "2")
    write_back.let_go_of_all(partial(is_note_of, cars))
    assert not write_back.has_taken("m", "1", said[cars])
    assert write_back.has_taken("m", "1", said[other])
    assert write_back.flush()
    assert notes.aliases == {("m", "serving-fleet-cars"): "2", ("m", "serving-fleet-cars2"): "1"}
    writes = notes.writes
    write_back.want_alias("m", mlflow_alias(other), "1")
    write_back.flush()
    assert notes.writes == writes


def test_it_gives_a_sign_of_life_at_each_round_and_before_each_write_and_none_once_it_failed() -> None:
    notes, beats, stop = Notes(), list[int](), Event()
    write_back = WriteBack(notes)
    notes.fault = RuntimeError("a fault of ours")
    for number in ("1", "2"):
        write_back.want_tags("cars", number, {"weight": "10"})
    with pytest.raises(RuntimeError):
        write_back.run(stop, 60, lambda: beats.append(notes.writes))
    assert beats == [0, 0]
    notes.fault = None
    write_back.flush(lambda: beats.append(notes.writes))
    assert beats[2:] == [1, 2]


def test_what_a_replica_still_had_to_note_when_it_ceased_to_lead_is_dropped() -> None:
    notes, leads = Notes(), [True]
    write_back = WriteBack(notes, lambda: leads[0])
    notes.fault = MlflowUnavailable("away")
    write_back.want_tags("cars", "1", {"weight": "10"})
    assert not write_back.flush()
    assert write_back.pending() == 1
    notes.fault, leads[0], writes = None, False, notes.writes
    assert write_back.flush()
    assert (notes.writes, write_back.pending()) == (writes, 0), "the other replica may have noted something newer"
