from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.api.model_revision import ModelRevisionSpec
from registry.api.served_model import ModelSelector, PredictorSpec
from registry.crds import MODEL_REVISION, crd
from registry.errors import MlflowUnavailable, NotRegistered
from registry.mlflow_registry import Registered, RunFacts
from registry.resolving import MOST_REVIEWS, MOST_UNSURE, REVIEW_SECONDS, Found, Resolver, look_up, target_of
from registry.rollout.snapshot import NotFound, Target, Unknown
from registry.work_queue import Key
from tests.waiting import wait_for

CARS = Key("fleet", "cars")
CHAMPION = ModelSelector(name="cars", alias="champion")


class FakeMlflow:
    """Two versions of a model, and an alias."""

    def __init__(self) -> None:
        self.versions = {
            "1": Registered("1", "20260101000000", f"sha256:{1:064}", "run1"),
            "2": Registered("2", "20260102000000", f"sha256:{2:064}", "run2"),
        }
        self.champion: str | None = "1"
        self.features: tuple[str, ...] = ("speed",)
        self.fault: str | None = None
        self.answers = Event()
        self.answers.set()
        self.calls: list[str] = []

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        self._called("aliases")
        return {"cars": {} if self.champion is None else {"champion": self.champion}}

    def by_id(self, model: str, version: str) -> Registered | None:
        self._called(f"by_id {model} {version}")
        return next((found for found in self.versions.values() if found.id == version), None)

    def by_alias(self, model: str, alias: str) -> Registered:
        self._called(f"by_alias {model} {alias}")
        if self.champion is None:
            raise NotRegistered("no alias")
        return self.versions[self.champion]

    def newest(self, model: str, condition: str) -> Registered | None:
        self._called(f"newest {model} {condition}")
        return self.versions["2"]

    def run(self, run_id: str) -> RunFacts:
        self._called(f"run {run_id}")
        return RunFacts({"rate": 0.1}, self.features)

    def _called(self, what: str) -> None:
        self.calls.append(what)
        self.answers.wait(10)
        if self.fault is not None:
            raise MlflowUnavailable(self.fault)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class World:
    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.mlflow, self.clock, self.told = FakeMlflow(), Clock(), list[Key]()
        self.resolver = Resolver(self.mlflow, executor, self.clock, patience=0.2, notify=self.told.append)

    def number(self) -> str:
        answer = self.resolver.answer(CARS, CHAMPION, hurry=False)
        assert isinstance(answer, Found), answer
        return answer.number


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(2) as executor:
        found = World(executor)
        yield found
        found.mlflow.answers.set()


@pytest.mark.parametrize(
    ("selector", "number", "call"),
    [
        ({"alias": "champion"}, "1", "by_alias cars champion"),
        ({"version": "20260102000000"}, "2", "by_id cars 20260102000000"),
        ({"tag": "stage=gold"}, "2", "newest cars tags.`stage` = 'gold'"),
        ({"run_id": "a" * 32}, "2", f"newest cars run_id = '{'a' * 32}'"),
    ],
)
def test_each_selector_finds_its_version(selector: dict[str, str], number: str, call: str) -> None:
    mlflow = FakeMlflow()
    answer = look_up(mlflow, ModelSelector(name="cars", **selector))
    assert isinstance(answer, Found)
    assert (answer.number, answer.run.feature_names) == (number, ("speed",))
    assert mlflow.calls[0] == call


def test_what_is_not_there_is_not_found_and_what_is_not_told_is_unknown() -> None:
    mlflow = FakeMlflow()
    mlflow.champion = None
    assert isinstance(look_up(mlflow, CHAMPION), NotFound)
    assert isinstance(look_up(mlflow, ModelSelector(name="cars", version="20300101000000")), NotFound)
    mlflow.fault = "connection refused"
    assert look_up(mlflow, CHAMPION) == Unknown("connection refused")


def test_a_version_that_the_predictor_could_not_check_is_not_found() -> None:
    mlflow = FakeMlflow()
    mlflow.versions["1"] = Registered("1", "20260101000000", "", "run1")
    answer = look_up(mlflow, CHAMPION)
    assert isinstance(answer, NotFound)
    assert answer.reason == "NotTelltale"
    mlflow.versions["1"] = Registered("1", "20260101000000", f"sha256:{1:064}", "run1")
    mlflow.features = ()
    answer = look_up(mlflow, CHAMPION)
    assert isinstance(answer, NotFound)
    assert answer.reason == "NoSignature"


@pytest.mark.parametrize(
    ("version", "digest", "said"),
    [
        ("20260101", f"sha256:{1:064}", "telltale.version is 20260101"),
        ("20260101000000", "sha256:1", "telltale.artifact_digest is sha256:1"),
        ("20260101000000", f"sha256:{1:064}\n", "telltale.artifact_digest"),
        ("20260101000000", "x" * 5000, "telltale.artifact_digest is xxx"),
    ],
)
def test_a_tag_that_is_not_of_its_form_is_named(version: str, digest: str, said: str) -> None:
    mlflow = FakeMlflow()
    mlflow.versions["1"] = Registered("1", version, digest, "run1")
    answer = look_up(mlflow, CHAMPION)
    assert isinstance(answer, NotFound)
    assert answer.reason == "NotTelltale"
    assert said in answer.message
    assert len(answer.message) < 300


PREDICTOR = PredictorSpec(image="telltale/predictor:dev", model_store="s3://models/store")
FEATURES = "its feature names: List should have at most 1024 items"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"run": RunFacts({}, tuple(map(str, range(1025))))}, FEATURES),
        ({"run": RunFacts({}, ("speed", "x" * 501))}, "its feature names 2: String should have at most 500 characters"),
        ({"run_id": "r" * 65}, "its mlflow run id: String should have at most 64 characters"),
        ({"run": RunFacts({}, ("\ud800",))}, "its feature names 1: "),
    ],
)
def test_what_no_revision_can_hold_is_not_found_and_says_why(found: dict[str, Any], said: str) -> None:
    whole = {"model": "cars", "version": "20260101000000", "number": "1", "digest": "d", "run_id": "r"}
    answer = target_of(Found(**(whole | {"run": RunFacts({}, ("speed",))} | found)), "cars", PREDICTOR)
    assert isinstance(answer, NotFound)
    assert answer.reason == "Unservable"
    assert answer.message.startswith("MLflow's version 1 of cars cannot be served: ")
    assert said in answer.message


_ANY = st.text(st.characters(), max_size=140)
_FOUND = st.builds(
    Found,
    model=st.just("cars") | _ANY,
    version=_ANY,
    number=_ANY,
    digest=_ANY,
    run_id=_ANY,
    run=st.builds(
        RunFacts,
        st.just({}),
        st.lists(_ANY, max_size=3).map(tuple)
        | st.integers(1020, 1030).map(lambda count: ("speed",) * count)
        | st.integers(495, 505).map(lambda length: ("x" * length,)),
    ),
)


def fits(found: Found) -> bool:
    """Tell whether a ModelRevision holds it, by the limits of the CRD alone."""
    schema = crd(MODEL_REVISION)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    texts = {
        "model": found.model,
        "version": found.version,
        "mlflowVersion": found.number,
        "mlflowRunId": found.run_id,
        "digest": found.digest,
    }
    names = schema["featureNames"]
    return (
        all(schema[name].get("minLength", 0) <= len(text) <= schema[name]["maxLength"] for name, text in texts.items())
        and re.fullmatch(schema["model"]["pattern"].strip("^$"), found.model) is not None
        and len(found.run.feature_names) <= names["maxItems"]
        and all(len(name) <= names["items"]["maxLength"] for name in found.run.feature_names)
    )


@given(_FOUND)
def test_whatever_mlflow_says_is_a_target_that_the_api_server_takes_or_is_not_found(found: Found) -> None:
    answer = target_of(found, "cars", PREDICTOR)
    if isinstance(answer, Target):
        json.dumps(answer.spec.dump()).encode()
        assert fits(found)
        assert answer.spec == ModelRevisionSpec.model_validate(answer.spec.dump())
        return
    assert answer.reason == "Unservable"
    answer.message.encode()
    assert len(answer.message) < 1024
    whole = "".join((found.model, found.version, found.number, found.digest, found.run_id, *found.run.feature_names))
    assert not fits(found) or any("\ud800" <= character <= "\udfff" for character in whole)


def test_a_tag_that_would_break_the_query_finds_nothing() -> None:
    mlflow = FakeMlflow()
    assert isinstance(look_up(mlflow, ModelSelector(name="cars", tag="stage=x' OR name = 'other")), NotFound)
    assert mlflow.calls == []


def test_an_answer_is_kept_and_mlflow_is_not_asked_again(world: World) -> None:
    assert world.number() == "1"
    calls = list(world.mlflow.calls)
    assert world.number() == "1"
    assert world.mlflow.calls == calls


def test_an_alias_that_moved_is_noticed_by_the_poll_and_told(world: World) -> None:
    assert world.number() == "1"
    world.told.clear()
    world.resolver.poll()
    assert world.told == []
    world.mlflow.champion = "2"
    world.resolver.poll()
    assert world.told == [CARS]
    assert world.number() == "2"


def test_a_poll_asks_for_nothing_but_the_aliases_while_nothing_moves(world: World) -> None:
    world.number()
    world.mlflow.calls.clear()
    world.resolver.poll()
    assert world.mlflow.calls == ["aliases"]
    world.clock.now += REVIEW_SECONDS
    world.resolver.poll()
    assert "by_alias cars champion" in world.mlflow.calls, "now and then a version's tags are looked at again"


def test_of_many_that_are_to_be_looked_at_again_what_moved_goes_first_and_only_some_of_the_others_follow(
    world: World,
) -> None:
    world.number()
    for number in range(3 * MOST_REVIEWS):
        key, selector = Key("fleet", f"more{number}"), ModelSelector(name="cars", version="20260102000000")
        world.resolver.answer(key, selector.model_copy(update={"name": f"more{number}"}), hurry=False)
    world.mlflow.champion = "2"
    world.clock.now += REVIEW_SECONDS
    asked = []
    for _ in range(3):
        world.mlflow.calls.clear()
        world.resolver.poll()
        asked.append([call for call in world.mlflow.calls if call.startswith("by_")])
    assert asked[0][0] == "by_alias cars champion"
    assert [len(calls) for calls in asked] == [1 + MOST_REVIEWS, MOST_REVIEWS, MOST_REVIEWS]
    assert len({call for calls in asked for call in calls}) == 1 + 3 * MOST_REVIEWS, (
        "the oldest first, so that each has its turn"
    )


def test_what_a_reconcile_has_had_asked_is_not_asked_by_the_poll_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.mlflow.answers.clear()
    world.resolver.answer(CARS, CHAMPION, hurry=True)
    monkeypatch.setattr(world.mlflow, "aliases", lambda: {"cars": {"champion": "1"}})
    world.resolver.poll()
    world.mlflow.answers.set()
    assert world.number() == "1"
    assert world.mlflow.calls.count("by_alias cars champion") == 1


def test_while_mlflow_does_not_answer_nothing_is_known_and_afterwards_it_is_again(world: World) -> None:
    world.number()
    world.told.clear()
    world.mlflow.fault = "connection refused"
    world.resolver.poll()
    assert world.told == [CARS]
    assert world.resolver.answer(CARS, CHAMPION, hurry=False) == Unknown("connection refused")
    world.resolver.poll()
    assert world.told == [CARS], "an outage is told once"
    world.mlflow.fault = None
    world.resolver.poll()
    assert world.told == [CARS, CARS]
    assert world.number() == "1"


def test_nobody_waits_for_an_mlflow_that_hangs_longer_than_their_patience(world: World) -> None:
    world.mlflow.answers.clear()
    assert isinstance(world.resolver.answer(CARS, CHAMPION, hurry=True), Unknown)
    assert isinstance(world.resolver.answer(CARS, CHAMPION, hurry=False), Unknown)
    world.mlflow.answers.set()
    assert world.number() == "1"


def test_an_alias_that_does_not_exist_is_no_outage_for_other_models(world: World) -> None:
    other = Key("fleet", "trucks")
    world.mlflow.champion = None
    assert isinstance(world.resolver.answer(CARS, CHAMPION, hurry=False), NotFound)
    version = ModelSelector(name="cars", version="20260102000000")
    assert isinstance(world.resolver.answer(other, version, hurry=False), Found)


def looked_up(world: World) -> list[str]:
    """Return what a poll asks for beside the aliases."""
    world.mlflow.calls.clear()
    world.resolver.poll()
    return [call for call in world.mlflow.calls if not call.startswith(("aliases", "run "))]


def test_an_alias_that_there_is_not_waits_for_its_review_and_is_found_at_once_when_it_is_made(world: World) -> None:
    world.mlflow.champion = None
    assert isinstance(world.resolver.answer(CARS, CHAMPION, hurry=False), NotFound)
    assert looked_up(world) == []
    world.clock.now += REVIEW_SECONDS
    assert looked_up(world) == ["by_alias cars champion"]
    world.mlflow.champion = "2"
    world.resolver.poll()
    assert world.number() == "2"


def test_of_many_that_may_mean_something_else_by_now_only_some_are_looked_up_at_a_poll(world: World) -> None:
    count = 2 * MOST_UNSURE
    for number in range(count):
        tagged = {"tag": f"stage=s{number}"} if number % 2 else {"version": f"{20300101000000 + number}"}
        world.resolver.answer(
            Key("fleet", f"more{number}"), ModelSelector.model_validate({"name": "cars"} | tagged), hurry=False
        )
        world.clock.now += 0.01
    first, second = looked_up(world), looked_up(world)
    assert (len(first), len(second)) == (MOST_UNSURE, MOST_UNSURE)
    assert len({*first, *second}) == count, "the oldest first, so that each has its turn"
    world.number()
    world.mlflow.champion = "2"
    assert looked_up(world)[0] == "by_alias cars champion", "what moved does not wait for them"


def test_a_poll_gives_a_sign_of_life_before_each_that_it_looks_up(world: World) -> None:
    world.number()
    world.mlflow.champion, beats = "2", list[int]()
    world.resolver.poll(lambda: beats.append(len(world.mlflow.calls)))
    assert len(beats) == 1


def test_a_replica_that_leads_again_asks_mlflow_and_not_its_memory(world: World) -> None:
    assert world.number() == "1"
    world.mlflow.champion = "2"
    world.resolver.forget_all()
    assert world.number() == "2"
    world.mlflow.fault = "connection refused"
    world.resolver.poll()
    world.resolver.forget_all()
    world.mlflow.fault = None
    assert world.number() == "2", "an outage from then is over"


def test_what_was_asked_before_everything_was_forgotten_is_no_answer_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, begun = (Event(), Event()), list[None]()

    def look_up(*_: object) -> NotFound:
        begun.append(None)
        events[len(begun) - 1].wait(10)
        return NotFound("NoSuchVersion", "")

    monkeypatch.setattr("registry.resolving.look_up", look_up)
    world.resolver.answer(CARS, CHAMPION, hurry=True)
    asked = world.resolver._entries[CHAMPION].asked
    assert asked is not None
    wait_for(lambda: begun)
    world.resolver.forget_all()
    world.resolver.answer(CARS, CHAMPION, hurry=True)
    events[0].set()
    asked.result(10)
    assert isinstance(world.resolver.answer(CARS, CHAMPION, hurry=True), Unknown)
    assert world.told == []
    events[1].set()
    wait_for(lambda: world.told == [CARS])


def test_a_served_model_that_is_gone_is_not_looked_up_any_more(world: World) -> None:
    world.number()
    world.resolver.forget(CARS)
    world.mlflow.champion = "2"
    world.mlflow.calls.clear()
    world.resolver.poll()
    assert world.mlflow.calls == ["aliases"]
