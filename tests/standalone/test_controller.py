"""The controller on a real PostgreSQL, a real MLflow store and real versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from contract.names import CHAMPION_ALIAS, TAG_GATE, TAG_GATE_REASON, manifest_key
from registry.mlflow_registry import MlflowRegistry
from standalone.controller import Controller
from store.ingest_log import BatchRow
from store.serving import ServedVersions
from tests.trainer.conftest import MLFLOW_WARNINGS, Bench, bench_for, mlflow_template, random_batch, settings
from trainer.settings import TrainerSettings

__all__ = ["mlflow_template", "settings"]  # fixtures that pytest finds by their names here
pytestmark = [pytest.mark.integration, *MLFLOW_WARNINGS]


class Killed(BaseException):
    """Ends a reconcile as a SIGKILL would: nothing catches it."""


@dataclass
class Plane:
    """A trainer's parts with a controller beside them."""

    bench: Bench
    controller: Controller
    served: ServedVersions

    def train(self, *, model: str = "default", features: int = 4, seed: int = 0, after: int = 0) -> BatchRow:
        row = self.bench.accept(random_batch(30, features, seed, model), after=after)
        self.bench.training.train(row.id)
        return row

    def default(self, model: str = "default") -> str | None:
        served = self.served.all().get(model)
        return None if served is None else served.version

    def champion(self, model: str = "default") -> str:
        return str(self.bench.client.get_model_version_by_alias(model, CHAMPION_ALIAS).version)


@pytest.fixture
def plane(settings: TrainerSettings) -> Iterator[Plane]:
    with bench_for(settings) as bench:
        served = ServedVersions(bench.postgres)
        mlflow = MlflowRegistry(settings.mlflow_tracking_uri)
        yield Plane(bench, Controller(bench.log, bench.models, served, mlflow), served)


def test_a_trained_version_is_judged_promoted_served_and_tagged(plane: Plane) -> None:
    row = plane.train()
    plane.controller.reconcile()
    assert plane.default() == row.version
    assert plane.champion() == "1"
    assert plane.bench.log.get(row.id).gate == "passed"
    tags = plane.bench.client.get_model_version("default", "1").tags
    assert tags[TAG_GATE] == "passed"
    assert "probe rows score as scikit-learn" in tags[TAG_GATE_REASON]


def test_versions_are_judged_in_the_order_of_their_batches_and_the_newest_is_served(plane: Plane) -> None:
    rows = [plane.train(seed=seed, after=seed) for seed in range(3)]
    plane.controller.reconcile()
    assert plane.default() == rows[-1].version
    assert {plane.bench.log.get(row.id).gate for row in rows} == {"passed"}


def test_a_version_whose_artefact_is_damaged_is_refused_and_the_old_one_goes_on(plane: Plane) -> None:
    first = plane.train()
    plane.controller.reconcile()
    second = plane.train(seed=1, after=1)
    forest = plane.bench.models.manifest("default", second.version).forest
    path = plane.bench.root / "objects" / forest.key
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    plane.controller.reconcile()
    assert plane.default() == first.version
    judged = plane.bench.log.get(second.id)
    assert judged.gate == "refused"
    assert "digest" in (judged.gate_reason or "")
    assert plane.champion() == "1"


def test_a_champion_moved_back_by_a_person_is_followed_and_not_undone(plane: Plane) -> None:
    first, _second = plane.train(), plane.train(seed=1, after=1)
    plane.controller.reconcile()
    plane.bench.client.set_registered_model_alias("default", CHAMPION_ALIAS, "1")
    for _ in range(3):
        plane.controller.reconcile()
        assert plane.default() == first.version
    third = plane.train(seed=2, after=2)
    plane.controller.reconcile()
    assert plane.default() == third.version


def test_a_champion_that_cannot_be_served_changes_nothing_and_says_why(plane: Plane) -> None:
    first, second = plane.train(), plane.train(seed=1, after=1)
    plane.controller.reconcile()
    plane.bench.client.set_registered_model_alias("default", CHAMPION_ALIAS, "1")
    (plane.bench.root / "objects" / manifest_key("default", first.version)).unlink()
    for _ in range(2):
        plane.controller.reconcile()
        assert plane.default() == second.version
    tags = plane.bench.client.get_model_version("default", "1").tags
    assert tags[TAG_GATE] == "refused"


def test_a_version_that_a_person_registered_by_hand_is_not_served(plane: Plane) -> None:
    row = plane.train()
    plane.controller.reconcile()
    plane.bench.client.create_model_version("default", source="file:///nowhere")
    plane.bench.client.set_registered_model_alias("default", CHAMPION_ALIAS, "2")
    plane.controller.reconcile()
    assert plane.default() == row.version
    assert "telltale.version" in plane.bench.client.get_model_version("default", "2").tags[TAG_GATE_REASON]


def test_a_version_deleted_in_mlflow_before_its_verdict_is_refused_and_blocks_nobody(plane: Plane) -> None:
    row, other = plane.train(), plane.train(model="other")
    plane.bench.client.delete_model_version("default", "1")
    plane.controller.reconcile()
    assert plane.bench.log.get(row.id).gate == "refused"
    assert plane.default("other") == other.version


def test_a_model_that_a_person_renamed_or_made_blocks_nobody(plane: Plane) -> None:
    plane.train(model="a")
    plane.controller.reconcile()
    plane.bench.client.rename_registered_model("a", "a (old)")
    other = plane.train(model="b", after=1)
    plane.controller.reconcile()
    assert plane.default("b") == other.version


def test_after_a_model_was_deleted_in_mlflow_its_next_version_is_served_and_stays(plane: Plane) -> None:
    plane.train()
    plane.controller.reconcile()
    plane.bench.client.delete_registered_model("default")
    second = plane.train(seed=1, after=1)
    for _ in range(3):
        plane.controller.reconcile()
        assert plane.default() == second.version


def test_whatever_is_wrong_with_one_model_the_others_go_on(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.train(model="a")
    good = plane.train(model="b")
    real = plane.controller.mlflow.by_id

    def broken(model: str, version: str) -> Any:
        if model == "a":
            raise ZeroDivisionError
        return real(model, version)

    monkeypatch.setattr(plane.controller.mlflow, "by_id", broken)
    plane.controller.reconcile()
    assert (plane.default("a"), plane.default("b")) == (None, good.version)


@pytest.mark.parametrize("cut", ["make_champion", "tag_gate", "serve", "record_gate"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_wherever_a_promotion_is_cut_off_the_next_look_ends_it(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, cut: str, moment: str
) -> None:
    row = plane.train()
    owner: Any = next(part for part in (plane.controller.mlflow, plane.served, plane.bench.log) if hasattr(part, cut))
    real = getattr(owner, cut)

    def killed(*args: Any, **kwargs: Any) -> None:
        if moment == "after":
            real(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, cut, killed)
        with pytest.raises(Killed):
            plane.controller.reconcile()
    plane.controller.reconcile()
    assert plane.default() == row.version
    assert plane.champion() == "1"
    assert plane.bench.log.get(row.id).gate == "passed"
    assert plane.bench.client.get_model_version("default", "1").tags[TAG_GATE] == "passed"
