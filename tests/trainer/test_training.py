from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import joblib
import mlflow
import numpy as np
import pandas as pd
import pytest

from contract.names import CANDIDATE_ALIAS
from scoring.reference import decision_function
from store.errors import StoreUnavailable
from store.ingest_log import BatchRow
from tests.mortal import Killed, Port
from tests.trainer.conftest import MLFLOW_WARNINGS, NOW, Bench, batch, random_batch
from trainer.errors import AttemptRunning, UntrainableBatch
from trainer.training import Training

pytestmark = [pytest.mark.integration, *MLFLOW_WARNINGS]


def mortal(training: Training, on_call: Callable[[str], None]) -> Training:
    """A training whose every port, and MLflow's client below, reports its calls to ``on_call``."""
    tracking = training.tracking
    below = type(tracking).__new__(type(tracking))
    vars(below).update(vars(tracking), _client=Port(tracking._client, on_call))
    parts: dict[str, Any] = {
        "log": Port(training.log, on_call),
        "models": Port(training.models, on_call),
        "tracking": Port(below, on_call),
    }
    return replace(training, **parts)


def test_one_record_becomes_a_version(bench: Bench) -> None:
    row = bench.accept(batch(np.array([[0.5, 0.3, 0.8, 1.2]])))
    bench.training.train(row.id)
    bench.assert_trained_once([row])
    forest = bench.models.load(bench.models.manifest("default", row.version))
    assert decision_function(forest, np.array([[0.7, 0.2, 0.9, 0.5]])) == [0.0]


def test_the_run_tells_what_a_data_scientist_asks(bench: Bench) -> None:
    row = bench.accept(random_batch(120))
    bench.training.train(row.id)
    (run,) = bench.runs()
    assert run.info.run_name == row.version
    assert run.data.params["n_estimators"] == "20"
    assert run.data.params["contamination"] == "0.05"
    assert run.data.metrics["training_flag_rate"] == pytest.approx(0.05, abs=0.01)
    assert -1 <= run.data.metrics["holdout_rank_correlation"] <= 1
    (dataset,) = run.inputs.dataset_inputs
    assert bench.models.manifest("default", row.version).training_digest.startswith(f"sha256:{dataset.dataset.digest}")
    plots = {file.path for file in bench.client.list_artifacts(run.info.run_id, "plots")}
    assert plots == {f"plots/{name}.png" for name in ("feature_ranges", "flagged_over_time", "score_histogram")}
    experiment = bench.client.get_experiment_by_name("default")
    assert experiment is not None
    assert Path(experiment.artifact_location.removeprefix("file://")) == bench.root / "mlflow" / "default"


def test_the_baseline_describes_every_feature(bench: Bench) -> None:
    row = bench.accept(random_batch(120))
    bench.training.train(row.id)
    (run,) = bench.runs()
    folder = Path(bench.client.download_artifacts(run.info.run_id, "", str(bench.root)))
    described = json.loads((folder / "feature_baseline.json").read_text())
    assert set(described["features"]) == {"f0", "f1", "f2", "f3"}
    assert all(sum(feature["histogram"]["counts"]) == 120 for feature in described["features"].values())


def test_a_notebook_loads_the_candidate_and_scores_as_the_store_does(bench: Bench) -> None:
    data = random_batch(60)
    row = bench.accept(data)
    bench.training.train(row.id)
    source = bench.candidate().source
    frame = pd.DataFrame(data.X, columns=list(data.feature_names))
    loaded = mlflow.pyfunc.load_model(source)
    answer = loaded.predict(frame)
    expected = decision_function(bench.models.load(bench.models.manifest("default", row.version)), data.X)
    assert np.array_equal(answer["anomaly_score"], expected)
    assert np.array_equal(answer["is_anomaly"], expected < 0)
    assert [column.name for column in loaded.metadata.get_input_schema()] == list(data.feature_names)
    assert len(loaded.input_example) == 5
    estimator = joblib.load(next(Path(source.removeprefix("file://")).rglob("*.joblib")))
    assert np.array_equal(estimator.decision_function(data.X), expected)


def test_the_probe_holds_what_sklearn_gave(bench: Bench) -> None:
    row = bench.accept(random_batch(300))
    bench.training.train(row.id)
    manifest = bench.models.manifest("default", row.version)
    X, expected = bench.models.probe(manifest)
    assert len(X) == 256
    assert np.array_equal(decision_function(bench.models.load(manifest), X), expected)


def test_a_later_version_learns_from_the_earlier_batches_too(bench: Bench) -> None:
    first, second = bench.accept(random_batch(30)), bench.accept(random_batch(12, seed=1), after=5)
    for row in (first, second):
        bench.training.train(row.id)
    bench.assert_trained_once([first, second])
    assert bench.models.manifest("default", second.version).training_records == 42


def test_the_candidate_never_moves_back_to_an_older_version(bench: Bench) -> None:
    older, newer = bench.accept(random_batch(5)), bench.accept(random_batch(5, seed=1), after=5)
    for row in (newer, older):
        bench.training.train(row.id)
    assert bench.candidate().tags["telltale.version"] == newer.version
    bench.assert_trained_once([older, newer])


def test_a_batch_that_is_done_is_left_alone(bench: Bench) -> None:
    row = bench.accept(random_batch(5))
    bench.training.train(row.id)
    before = bench.versions()
    bench.training.train(row.id)
    assert [v.creation_timestamp for v in bench.versions()] == [v.creation_timestamp for v in before]


def test_two_attempts_do_not_run_side_by_side(bench: Bench) -> None:
    row = bench.accept(random_batch(5))
    with bench.training.attempts.held(row.id), pytest.raises(AttemptRunning):
        bench.training.train(row.id)
    bench.training.train(row.id)
    bench.assert_trained_once([row])


def test_an_attempt_that_lost_its_lock_stops_before_it_registers(bench: Bench) -> None:
    row = bench.accept(random_batch(5))
    postgres = bench.postgres

    def cut(call: str) -> None:
        if call == "after put_probe":
            with postgres.transaction() as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                    " (SELECT oid FROM pg_database WHERE datname = current_database())"
                )

    with pytest.raises(StoreUnavailable):
        mortal(bench.training, cut).train(row.id)
    assert bench.versions() == []
    bench.training.train(row.id)
    bench.assert_trained_once([row])


def test_an_attempt_that_was_overtaken_leaves_no_second_version(bench: Bench) -> None:
    row = bench.accept(random_batch(5))
    unguarded = replace(bench.training, clock=lambda: NOW + timedelta(hours=1))

    def overtake(call: str) -> None:
        if call == "before publish":
            other = bench.training
            manifest = other._make(row, lambda: None)
            other.models.publish(manifest)

    mortal(unguarded, overtake).train(row.id)
    bench.assert_trained_once([row])


def test_a_damaged_batch_is_said_to_be_untrainable(bench: Bench) -> None:
    row = bench.accept(random_batch(5))
    (bench.root / "objects" / row.object_key).write_bytes(b"changed")
    with pytest.raises(UntrainableBatch, match="digest"):
        bench.training.train(row.id)


def test_an_earlier_batch_that_is_damaged_is_left_out_with_a_warning(bench: Bench) -> None:
    first, second = bench.accept(random_batch(30)), bench.accept(random_batch(12, seed=1), after=5)
    (bench.root / "objects" / first.object_key).unlink()
    bench.training.train(second.id)
    assert bench.models.manifest("default", second.version).training_records == 12
    (version,) = bench.versions()
    assert version.description is not None
    assert first.version in version.description


def test_an_experiment_that_was_deleted_is_restored(bench: Bench) -> None:
    first, second = bench.accept(random_batch(5)), bench.accept(random_batch(5, seed=1), after=5)
    bench.training.train(first.id)
    experiment = bench.client.get_experiment_by_name("default")
    assert experiment is not None
    bench.client.delete_experiment(experiment.experiment_id)
    bench.training.train(second.id)
    assert bench.log.get(second.id).state == "done"


@pytest.fixture
def calls(bench: Bench) -> list[str]:
    """Every call that a training makes, in order, as seen at another batch of another model."""
    seen: list[str] = []
    row = bench.accept(random_batch(5, model="other"))
    mortal(bench.training, seen.append).train(row.id)
    return seen


def test_wherever_an_attempt_is_killed_the_next_ends_with_one_version(
    bench: Bench, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(calls) > 40
    monkeypatch.setattr("trainer.training.render", lambda *_: {"plot.png": b""})  # only to be quick
    rows = [bench.accept(random_batch(4, seed=i), after=i) for i in range(len(calls))]
    for place, row in enumerate(rows):
        with pytest.raises(Killed):
            mortal(bench.training, killer(place)).train(row.id)
        bench.training.train(row.id)
    bench.assert_trained_once(rows)
    assert bench.candidate().tags["telltale.version"] == rows[-1].version


def test_wherever_an_attempt_is_held_up_and_overtaken_there_is_one_version(
    bench: Bench, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.training.render", lambda *_: {"plot.png": b""})  # only to be quick
    places = range(0, len(calls), 2)  # before each call; after it is the same as before the next one
    rows = [bench.accept(random_batch(4, seed=place), after=place) for place in places]
    for place, row in zip(places, rows, strict=True):
        overtaken = mortal(bench.training, holding_up(bench, place, row))
        with suppress(StoreUnavailable):  # it notices, or has nothing left to do that another could have done
            overtaken.train(row.id)
        bench.training.train(row.id)  # the worker waits for what is away, and looks again
    bench.assert_trained_once(rows)


def holding_up(bench: Bench, place: int, row: BatchRow) -> Callable[[str], None]:
    """At the call number ``place`` let the attempt lose its lock, and another one train the batch."""
    numbers: Iterator[int] = iter(range(10_000))

    def on_call(_call: str) -> None:
        if next(numbers) == place:
            end_attempts(bench)
            bench.training.train(row.id)

    return on_call


def end_attempts(bench: Bench) -> None:
    with bench.postgres.transaction() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )


def killer(place: int) -> Callable[[str], None]:
    """Kill at the call number ``place``."""
    numbers: Iterator[int] = iter(range(10_000))

    def on_call(_call: str) -> None:
        if next(numbers) == place:
            raise Killed

    return on_call


def test_a_run_that_a_killed_attempt_left_is_gone_from_sight(bench: Bench) -> None:
    row = bench.accept(random_batch(5))

    def kill(call: str) -> None:
        if call == "after create_run":
            raise Killed

    with pytest.raises(Killed):
        mortal(bench.training, kill).train(row.id)
    assert [run.info.status for run in bench.runs()] == ["RUNNING"]
    bench.training.train(row.id)
    assert [run.info.status for run in bench.runs()] == ["FINISHED"]
    assert CANDIDATE_ALIAS in bench.candidate().aliases
