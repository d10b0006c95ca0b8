from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from mlflow.exceptions import MlflowException

from contract.names import TAG_KEEP
from predictor.errors import UnknownVersion
from predictor.models.version_reader import VersionReader
from standalone.collect_garbage import purge
from standalone.errors import NotAllowed
from store.errors import ObjectMissing, StoreUnavailable
from store.jobs import Jobs
from store.postgres import Postgres
from store.queue import TrainingQueue
from tests.mortal import Killed
from tests.trainer.conftest import MLFLOW_WARNINGS
from tests.trainer.retention.leftovers import (
    AGE,
    POLICY,
    STRAY,
    Home,
    leave,
    mortal,
    of_model,
)
from trainer.retention.collecting import CollectionRunning
from trainer.retention.composition import build
from trainer.retention.plan import Item, Plan, Policy
from trainer.settings import TrainerSettings
from trainer.window import Bounds

if TYPE_CHECKING:
    from tests.mlflow_server import MlflowServer
    from tests.seaweed import Seaweed

pytestmark = [pytest.mark.integration, *MLFLOW_WARNINGS]
_numbers = itertools.count(1)


@pytest.fixture
def postgres(settings: TrainerSettings) -> Iterator[Postgres]:
    postgres = Postgres(settings.database_url)
    postgres.open()
    yield postgres
    postgres.close()


@pytest.fixture
def folder(settings: TrainerSettings, postgres: Postgres) -> Home:
    return Home.at(settings, postgres)


@pytest.fixture
def s3(settings: TrainerSettings, postgres: Postgres, s3_server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    bucket = s3_server.make_bucket(f"retention-{next(_numbers)}")
    return Home.at(settings.model_copy(update={"object_store": f"s3://{bucket}/telltale"}), postgres)


@pytest.fixture
def production(s3: Home, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name, value in mlflow_server.client_environment("trainer").items():
        monkeypatch.setenv(name, value)
    return Home.at(s3.settings.model_copy(update={"mlflow_tracking_uri": mlflow_server.url}), s3.postgres)


@pytest.fixture(params=["folder", "s3"])
def home(request: pytest.FixtureRequest) -> Home:
    found: Home = request.getfixturevalue(request.param)
    return found


def going(plan: Plan) -> list[tuple[str, str]]:
    return sorted((item.kind, item.id) for item in plan.items)


def kept(home: Home, plan: Plan, **parts: Any) -> dict[tuple[str, str], str]:
    """Carry a plan out; return what stayed, and why."""
    gc = replace(home.gc, collector=replace(home.gc.collector, **parts))
    return {(o.item.kind, o.item.id): o.kept for o in gc.carry_out(plan) if o.kept is not None}


def item(plan: Plan, kind: str) -> Item:
    (found,) = [item for item in plan.items if item.kind == kind]
    return found


def test_what_nobody_needs_goes_and_all_else_stays(home: Home) -> None:
    left = leave(home, "vans")
    assert home.collect().notes == []
    assert home.what_is_there("vans") == left.rest()
    assert home.gc.find(POLICY).items == []


def test_the_same_against_mlflows_server_with_the_trainers_account(production: Home) -> None:
    model = f"vans-{next(_numbers)}"
    left = leave(production, model)
    assert production.collect().notes == []
    assert production.what_is_there(model) == left.rest()
    assert production.gc.find(POLICY).items == []


def test_a_look_changes_nothing_and_says_what_would_go_and_why(folder: Home) -> None:
    left = leave(folder, "vans")
    before = folder.what_is_there("vans")
    plan = folder.gc.find(POLICY)
    assert folder.what_is_there("vans") == before
    assert {kind: total.count for kind, total in plan.totals().items()} == {
        "version files": 1,
        "version": 1,
        "registration": 1,
        "run": 3,
        "batch": 2,
        "batch object": 1,
    }
    assert item(plan, "version").id == left.old.row.version
    assert item(plan, "version").why == "older than 30 days, and nothing refers to it"
    sizes = {found.key: found.size for found in folder.objects.listed("")}
    assert all(one.size == sum(sizes[key] for key in one.keys) for one in plan.items)
    assert plan.totals()["batch object"].size == len(b"stray")


WRITES = {f"after {name}" for name in ("delete", "remove", "note_collected", "delete_registration", "delete_run")}


def killer(place: int) -> Callable[[str], None]:
    """Kill after the write number ``place``."""
    numbers = itertools.count()

    def on_call(call: str) -> None:
        if call in WRITES and next(numbers) == place:
            raise Killed

    return on_call


def test_wherever_it_is_killed_the_next_one_ends_with_the_same(folder: Home) -> None:
    leave(folder, "first")
    calls: list[str] = []
    list(mortal(folder.gc, calls.append).carry_out(folder.gc.find(POLICY)))
    assert set(calls) >= WRITES
    places = sum(call in WRITES for call in calls)
    left = [leave(folder, f"model-{place}") for place in range(places)]
    plan = folder.gc.find(POLICY)
    for place, one in enumerate(left):
        with pytest.raises(Killed):
            list(mortal(folder.gc, killer(place)).carry_out(of_model(plan, one.failed.model)))
        assert_whole(folder, one.failed.model)
    folder.collect()
    for one in left:
        assert folder.what_is_there(one.failed.model) == one.rest()
    assert folder.gc.find(POLICY).items == []


def assert_whole(home: Home, model: str) -> None:
    """Each version that can be seen can be loaded, and each batch of the log can be read."""
    for version in home.models.versions(model):
        manifest = home.models.manifest(model, version)
        home.models.load(manifest)
        home.models.probe(manifest)
    for batch in home.what_is_there(model)["rows"]:
        home.log.read(home.log.get(batch))


def test_with_mlflow_away_only_that_goes_which_needs_no_asking(folder: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    left = leave(folder, "vans")
    before = folder.what_is_there("vans")
    away = build(
        folder.settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:1"}),
        folder.postgres,
        clock=folder.gc.finder.clock,
    )
    plan = away.find(POLICY)
    assert going(plan) == [("batch object", STRAY), ("version files", left.failed.version)]
    assert not plan.complete
    assert "MLflow cannot be asked" in plan.notes[0]
    assert [outcome.kept for outcome in away.carry_out(plan)] == [None, None]
    after = folder.what_is_there("vans")
    assert before["objects"] - after["objects"] == {key for one in plan.items for key in one.keys}
    assert before | {"objects": after["objects"]} == after

    whole = folder.gc.find(POLICY)
    reasons = kept(folder, whole, mlflow=away.collector.mlflow)
    assert {kind for kind, _ in reasons} == {"version", "registration", "run"}
    folder.collect()
    assert folder.what_is_there("vans") == left.rest()


def test_two_collections_do_not_run_at_once(folder: Home) -> None:
    leave(folder, "vans")
    plan = folder.gc.find(POLICY)
    first = folder.gc.carry_out(plan)
    next(first)
    with pytest.raises(CollectionRunning, match="another garbage collection"):
        next(folder.gc.carry_out(plan))
    assert len(list(first)) == len(plan.items) - 1


def test_a_collection_whose_session_was_ended_stops(folder: Home) -> None:
    leave(folder, "vans")
    running = folder.gc.carry_out(folder.gc.find(POLICY))
    next(running)
    with psycopg.connect(folder.settings.database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    with pytest.raises(StoreUnavailable):
        next(running)


def test_a_version_that_is_named_after_the_look_stays(folder: Home) -> None:
    aliased, served, marked = (leave(folder, model) for model in ("aliased", "served", "marked"))
    plan = folder.gc.find(POLICY)
    folder.client.set_registered_model_alias("aliased", "back", aliased.old.number)
    folder.served.serve("served", served.old.row.version, "sha256:0")
    folder.client.set_model_version_tag("marked", marked.old.number, TAG_KEEP, "true")
    reasons = kept(folder, plan)
    assert {reason for (kind, _), reason in reasons.items() if kind == "version"} == {
        "the alias back",
        "it is served by default",
        "it is marked to be kept",
    }
    for left in (aliased, served, marked):
        assert left.old.row.version in folder.models.versions(left.old.row.model)
        assert_whole(folder, left.old.row.model)


def test_a_batch_that_is_retried_after_the_look_stays_with_its_files(folder: Home) -> None:
    left = leave(folder, "vans")
    folder.version("vans")
    policy = replace(POLICY, failed_batches=timedelta(days=1))
    plan = folder.gc.find(policy)
    assert ("batch", left.failed.id) in going(plan)
    Jobs(folder.postgres, TrainingQueue(folder.postgres)).retry(left.failed.id)
    reasons = kept(folder, plan)
    assert reasons == {
        ("version files", left.failed.version): "it is to be trained after all",
        ("batch", left.failed.id): "it is to be trained after all, or is gone",
    }
    folder.log.read(folder.log.get(left.failed.id))
    assert ("batch", left.failed.id) not in going(folder.gc.find(policy))


def test_files_stay_while_an_attempt_is_under_way(folder: Home) -> None:
    left = leave(folder, "vans")
    plan = folder.gc.find(POLICY)
    with folder.gc.collector.attempts.held(left.failed.id):
        reasons = kept(folder, plan)
    assert "another worker" in reasons["version files", left.failed.version]
    assert list(reasons) == [("version files", left.failed.version)]


def test_files_that_were_published_after_the_look_stay(folder: Home) -> None:
    left = leave(folder, "vans")
    plan = folder.gc.find(POLICY)
    made = folder.publish(left.failed)
    assert kept(folder, plan) == {("version files", left.failed.version): "its manifest was written meanwhile"}
    folder.models.load(folder.models.manifest("vans", made.row.version))


def test_a_run_that_a_person_registered_elsewhere_stays(folder: Home) -> None:
    leave(folder, "vans")
    plan = folder.gc.find(POLICY)
    lost = next(one.id for one in plan.items if one.kind == "run")
    folder.client.create_registered_model("research")
    folder.client.create_model_version("research", f"runs:/{lost}/model", lost)
    assert kept(folder, plan) == {("run", lost): "research 1 is registered from it"}


def test_what_is_pending_keeps_all_that_it_has(folder: Home) -> None:
    folder.version("vans")
    row = folder.accept("vans")
    folder.attempt(row)
    folder.registered(row)
    folder.run("vans", row.id)
    policy = replace(POLICY, batches=timedelta(days=365))
    assert folder.gc.find(policy).items == []
    folder.log.start_training(row.id)
    assert folder.gc.find(policy).items == []
    folder.log.finish_training(row.id)  # the gate has not judged it yet
    assert folder.gc.find(policy).items == []


def test_nothing_goes_within_the_grace(folder: Home) -> None:
    leave(folder, "vans")
    assert folder.gc.find(replace(POLICY, grace=AGE + timedelta(hours=1))).items == []
    now = build(folder.settings, folder.postgres)
    assert now.find(replace(POLICY, versions=timedelta(0), batches=timedelta(0))).items == []
    assert now.find(replace(POLICY, grace=timedelta(0))).items != []


def test_versions_that_others_refer_to_stay(folder: Home) -> None:
    left = leave(folder, "vans")
    folder.client.set_tag(left.old.run, TAG_KEEP, "true")
    plan = folder.gc.find(replace(POLICY, keep={("vans", left.old.row.version): "a revision"}))
    assert "version" not in plan.totals()
    assert ("batch", left.old.row.id) not in going(plan)


def test_a_removed_batch_frees_its_idempotency_key(folder: Home) -> None:
    left = leave(folder, "vans")
    with folder.postgres.transaction() as connection:
        connection.execute(
            "INSERT INTO idempotency_keys (key, body_digest, batch_id) VALUES ('k', 'd', %s)", (left.old.row.id,)
        )
    folder.collect()
    assert folder.log.find(left.old.row.id) is None
    assert folder.log.find_key("k") is None
    assert folder.accept("vans").version > left.failed.version


def test_the_wrong_database_removes_nothing(folder: Home, database_url: str) -> None:
    leave(folder, "vans")
    other = Postgres(database_url)
    other.open()
    settings = folder.settings.model_copy(update={"database_url": database_url})
    wrong = build(settings, other, clock=folder.gc.finder.clock)
    plan = wrong.find(POLICY)
    assert plan.items == []
    assert plan.notes == [
        "batches/vans/ is left alone: the database knows no model vans",
        "models/vans/ is left alone: the database knows no model vans",
    ]
    Home.at(settings.model_copy(update={"object_store": f"{folder.settings.object_store}-2"}), other).accept("vans")
    assert "batch object" not in wrong.find(POLICY).totals()
    assert any("none of" in note or "no counterpart" in note for note in wrong.find(POLICY).notes)
    assert wrong.find(replace(POLICY, trusting=True)).totals()["batch object"].count == 5
    other.close()


def test_the_wrong_object_store_removes_nothing(folder: Home) -> None:
    left = leave(folder, "vans")
    folder.served.serve("vans", left.champion.row.version, "sha256:0")
    settings = folder.settings.model_copy(update={"object_store": f"{folder.settings.object_store}-2"})
    plan = build(settings, folder.postgres, clock=folder.gc.finder.clock).find(POLICY)
    assert plan.items == []
    assert "is served, and is not in the model store" in plan.notes[0]


def test_the_wrong_mlflow_removes_no_version(folder: Home) -> None:
    left = leave(folder, "vans")
    folder.client.delete_registered_model("vans")
    plan = folder.gc.find(POLICY)
    assert going(plan) == [("batch object", STRAY), ("version files", left.failed.version)]
    assert "MLflow knows no model vans" in plan.notes[0]


def test_more_orphans_than_crashes_leave_stay_until_told_otherwise(folder: Home) -> None:
    folder.version("vans")
    for number in range(11):
        folder.objects.create(f"batches/vans/{number:08}-1111-4111-8111-111111111111.parquet", b"1")
    plan = folder.gc.find(POLICY)
    assert plan.items == []
    assert plan.notes[0].startswith("11 of 12 batch objects of vans have no counterpart")
    assert folder.gc.find(replace(POLICY, trusting=True)).totals()["batch object"].count == 11


def test_an_alias_without_an_artefact_is_told_to_people(folder: Home) -> None:
    left = leave(folder, "vans")
    for key in folder.objects.keys(f"models/vans/{left.champion.row.version}/"):
        folder.objects.delete(key)
    plan = folder.gc.find(POLICY)
    assert plan.notes == [
        f"the alias champion of vans names {left.champion.row.version}, which is not in the model store: move it"
    ]
    assert ("registration", left.champion.number) not in going(plan)


def test_files_that_nobody_of_ours_wrote_are_passed_over(folder: Home) -> None:
    left = leave(folder, "vans")
    foreign = [
        f"models/vans/{left.old.row.version}/notes.txt",
        "models/vans/README.md",
        "models/vans/20240101000000/forest-final.safetensors",
        "batches/vans/export.csv",
        "elsewhere/batches/x.parquet",
    ]
    for key in foreign:
        folder.objects.create(key, b"mine")
    folder.collect()
    assert [folder.objects.read(key) for key in foreign] == [b"mine"] * len(foreign)


def test_an_upload_of_a_killed_process_is_aborted_after_the_grace(s3: Home, s3_server: Seaweed) -> None:
    bucket = s3.settings.object_store.split("/")[2]
    client = s3_server.client()
    client.create_multipart_upload(Bucket=bucket, Key="telltale/models/vans/20240101000000/forest-0")
    assert going(build(s3.settings, s3.postgres).find(POLICY)) == []
    assert [item.kind for item in s3.collect().items] == ["upload"]
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


def test_who_asks_for_a_removed_version_hears_which_there_are(folder: Home) -> None:
    left = leave(folder, "vans")
    reader = VersionReader(folder.models)
    assert reader.read("vans", left.old.row.version).version == left.old.row.version
    folder.collect()
    with pytest.raises(UnknownVersion) as caught:
        reader.read("vans", left.old.row.version)
    assert str(caught.value) == (
        f"model 'vans' has no version '{left.old.row.version}'; it has: "
        f"{left.newest.row.version}, {left.champion.row.version}"
    )


def test_a_reader_in_the_middle_never_takes_half_a_version_for_a_whole(folder: Home) -> None:
    left = leave(folder, "vans")
    plan = replace(folder.gc.find(POLICY), items=[item(folder.gc.find(POLICY), "version")])
    manifest = folder.models.manifest("vans", left.old.row.version)
    seen: list[bool] = []

    def look(_call: str) -> None:
        seen.append(folder.models.has("vans", left.old.row.version))
        if seen[-1]:
            folder.models.load(manifest)

    list(mortal(folder.gc, look).carry_out(plan))
    assert set(seen) == {True, False}
    assert seen == sorted(seen, reverse=True)
    with pytest.raises(ObjectMissing):
        folder.models.load(manifest)


def test_a_removed_run_can_be_restored_until_mlflow_frees_it(folder: Home, capfd: pytest.CaptureFixture[str]) -> None:
    leave(folder, "vans")
    gone = [item.id for item in folder.collect().items if item.kind == "run"]
    folder.client.restore_run(gone[0])
    kept_run = next(iter(folder.what_is_there("vans")["collected"]))
    purge(folder.settings.mlflow_tracking_uri, 0)
    assert folder.client.get_run(gone[0]).info.lifecycle_stage == "active"
    assert folder.client.get_run(kept_run).info.lifecycle_stage == "active"
    with pytest.raises(MlflowException, match="not found"):
        folder.client.get_run(gone[1])
    assert "permanently deleted" in capfd.readouterr().err
    with pytest.raises(NotAllowed, match="where its server runs"):
        purge("http://mlflow:5000", 0)


def test_policies_start_from_now_as_postgresql_has_it(folder: Home) -> None:
    plan = build(folder.settings, folder.postgres).find(Policy(window=Bounds()))
    assert abs(plan.now - datetime.now(UTC)) < timedelta(minutes=1)
