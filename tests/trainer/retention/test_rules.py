from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.retention.snapshots import (
    NOW,
    days,
    policies,
    registration,
    run,
    snapshot,
    snapshots,
    stored,
    version_id,
)
from trainer.retention.facts import Snapshot, Tracked
from trainer.retention.plan import Item, Policy
from trainer.retention.rules import (
    lost_files,
    lost_registrations,
    old_runs,
    old_versions,
    reasons_to_keep,
    references,
    too_many,
)

POLICY = Policy(newest_versions=2)


def decided(snap: Snapshot, policy: Policy) -> list[Item]:
    """All that goes of a model but its batches, as the finder puts it together."""
    files = list(lost_files(snap, policy))
    going = [*old_versions(snap, policy), *lost_registrations(snap, policy)]
    return [*files, *going, *old_runs(snap, policy, going)]


def carried_out(snap: Snapshot, items: list[Item]) -> Snapshot:
    """The same model once the items are gone."""
    keys = {key for item in items for key in item.keys}
    versions = []
    for version in snap.versions:
        files = tuple(file for file in version.files if file.key not in keys)
        manifest = None if version.manifest is None or version.manifest.key in keys else version.manifest
        if files or manifest:
            versions.append(replace(version, files=files, manifest=manifest))
    if snap.tracked is None:
        return replace(snap, versions=tuple(versions))
    numbers = {item.number if item.kind == "version" else item.id for item in items if item.kind != "run"}
    runs = {item.id for item in items if item.kind == "run"}
    collected = {item.run for item in items if item.kind == "version"}
    tracked = Tracked(
        tuple(one for one in snap.tracked.registrations if one.number not in numbers),
        tuple(
            replace(one, collected=one.collected or one.id in collected)
            for one in snap.tracked.runs
            if one.id not in runs
        ),
    )
    return replace(snap, versions=tuple(versions), tracked=tracked)


@given(snapshots(), policies())
def test_a_version_that_somebody_needs_never_goes(snap: Snapshot, policy: Policy) -> None:
    going = {item.id for item in old_versions(snap, policy)}
    assert going.isdisjoint({snap.served, *snap.asked, *snap.pending.values()})
    if snap.tracked is not None:
        assert going.isdisjoint({r.version for r in snap.tracked.registrations if r.aliases or r.keep})
    assert going.isdisjoint(references(snap))


@given(snapshots(), policies())
def test_the_newest_versions_stay_and_refused_ones_do_not_take_their_places(snap: Snapshot, policy: Policy) -> None:
    visible = sorted(version.version for version in snap.versions if version.manifest is not None)
    left = set(visible) - {item.id for item in old_versions(snap, policy)}
    refused = {r.version for r in snap.tracked.registrations if r.refused} if snap.tracked else set()
    accepted = [version for version in visible if version not in refused]
    assert set(accepted[-policy.newest_versions :]) <= left


@given(snapshots(), policies())
def test_nothing_younger_than_the_grace_goes(snap: Snapshot, policy: Policy) -> None:
    written = {file.key: file.modified for version in snap.versions for file in version.files}
    written |= {version.manifest.key: version.manifest.modified for version in snap.versions if version.manifest}
    for item in decided(snap, policy):
        assert all(NOW - written[key] >= policy.grace for key in item.keys)
        if snap.tracked is not None and item.kind == "registration":
            (created,) = [r.created for r in snap.tracked.registrations if r.number == item.id]
            assert NOW - created >= policy.grace
        if snap.tracked is not None and item.kind == "run":
            (started,) = [r.started for r in snap.tracked.runs if r.id == item.id]
            assert NOW - started >= policy.grace


@given(snapshots(), policies())
def test_of_a_pending_batch_nothing_goes(snap: Snapshot, policy: Policy) -> None:
    for item in decided(snap, policy):
        assert item.batch not in snap.pending
        assert not (item.kind in {"version", "version files"} and item.id in snap.pending.values())


@given(snapshots(), policies())
def test_without_mlflow_only_files_go_that_no_manifest_names(snap: Snapshot, policy: Policy) -> None:
    items = decided(replace(snap, tracked=None), policy)
    assert {item.kind for item in items} <= {"version files"}
    named = {key for v in snap.versions if v.published for key in v.published.keys}
    assert named.isdisjoint(key for item in items for key in item.keys)


@given(snapshots(), policies())
def test_what_was_carried_out_leaves_nothing_to_do(snap: Snapshot, policy: Policy) -> None:
    after = carried_out(snap, decided(snap, policy))
    assert decided(after, policy) == []


@given(snapshots(), policies())
def test_a_version_that_stays_keeps_its_files_its_registration_and_its_run(snap: Snapshot, policy: Policy) -> None:
    items = decided(snap, policy)
    after = carried_out(snap, items)
    kept = {v.version: v for v in after.versions if v.manifest is not None}
    for before in snap.versions:
        if before.version in kept and before.published is not None:
            assert before.published.keys <= {file.key for file in kept[before.version].files}
    if snap.tracked is not None and after.tracked is not None:
        lost = {item.id for item in items if item.kind == "registration"}
        needed = {r.run for r in snap.tracked.registrations if r.version in kept and r.number not in lost}
        assert needed.isdisjoint(item.id for item in items if item.kind == "run")


@given(snapshots(), policies(), st.floats(0, 300))
def test_what_goes_today_would_also_go_later(snap: Snapshot, policy: Policy, later: float) -> None:
    today = {(item.kind, item.id, item.keys) for item in decided(snap, policy)}
    other = decided(replace(snap, now=NOW + days(later)), policy)
    assert today <= {(item.kind, item.id, item.keys) for item in other}


@given(snapshots(), policies(), st.integers(0, 3))
def test_who_keeps_more_loses_no_more(snap: Snapshot, policy: Policy, more: int) -> None:
    generous = replace(
        policy, newest_versions=policy.newest_versions + more, versions=policy.versions + days(more), grace=days(3)
    )
    kept = {item.id for item in old_versions(snap, generous)}
    assert kept <= {item.id for item in old_versions(snap, policy)}


def test_each_reason_to_keep_is_told() -> None:
    snap = snapshot(
        versions=(*(stored(number) for number in range(1, 9)), stored(9, age=5)),
        pending={"batch-2": version_id(2)},
        served=version_id(3),
        asked={version_id(4): "asked for by a revision"},
        tracked=Tracked(
            (
                registration(5, aliases=("champion",)),
                registration(6, keep=True),
                registration(8, refused=True),
                registration(9, refused=True),
            )
        ),
    )
    assert reasons_to_keep(snap, Policy(newest_versions=1)) == {
        version_id(1): None,
        version_id(2): "its training is not over",
        version_id(3): "served by default",
        version_id(4): "asked for by a revision",
        version_id(5): "the alias champion",
        version_id(6): "marked to be kept in MLflow",
        version_id(7): "of the newest 1",
        version_id(8): None,
        version_id(9): "younger than 30 days",
    }


def test_an_old_version_goes_manifest_first_with_its_registration() -> None:
    snap = snapshot(versions=(stored(1), stored(2), stored(3)), tracked=Tracked((registration(1), registration(2))))
    (item,) = old_versions(snap, POLICY)
    assert (item.kind, item.id, item.number, item.run) == ("version", version_id(1), "1", "run-1")
    assert [key.rpartition("/")[2] for key in item.keys] == ["manifest.json", "forest-0", "probe-0"]
    assert item.size == 30


def test_the_run_of_a_removed_version_stays_for_its_numbers_until_it_is_old_too() -> None:
    tracked = Tracked((registration(1),), (run(1, age=100),))
    snap = snapshot(versions=(stored(1), stored(2), stored(3)), tracked=tracked)
    assert [item.kind for item in decided(snap, POLICY)] == ["version"]
    assert [item.kind for item in decided(snap, replace(POLICY, runs=days(99)))] == ["version", "run"]


def test_the_run_of_a_lost_attempt_goes_with_its_registration() -> None:
    snap = snapshot(tracked=Tracked((registration(1),), (run(1, version=""), run(2, version=""), run(3, age=0.5))))
    assert [(item.kind, item.id) for item in decided(snap, POLICY)] == [
        ("registration", "1"),
        ("run", "run-1"),
        ("run", "run-2"),
    ]


def test_a_removal_cut_off_after_the_manifest_is_finished_and_its_run_stays() -> None:
    snap = snapshot(
        versions=(stored(1, visible=False),), tracked=Tracked((registration(1),), (run(1, collected=True),))
    )
    assert [(item.kind, item.id) for item in decided(snap, POLICY)] == [
        ("version files", version_id(1)),
        ("registration", "1"),
    ]


def test_an_overtaken_attempts_files_registration_and_run_go_and_the_versions_own_stay() -> None:
    tracked = Tracked(
        (registration(1), registration(7, version=version_id(1))), (run(1), run(7, version=version_id(1)))
    )
    snap = snapshot(versions=(stored(1, strays=1),), tracked=tracked)
    assert [(item.kind, item.id) for item in decided(snap, POLICY)] == [
        ("version files", version_id(1)),
        ("registration", "7"),
        ("run", "run-7"),
    ]
    assert [key.rpartition("/")[2] for item in lost_files(snap, POLICY) for key in item.keys] == ["forest-1"]


def test_a_version_that_a_person_deleted_in_mlflow_keeps_its_run_as_long_as_it_is_served() -> None:
    snap = snapshot(versions=(stored(1),), served=version_id(1), tracked=Tracked((), (run(1, age=500),)))
    assert decided(snap, POLICY) == []


def test_an_alias_keeps_a_registration_whose_artefact_is_gone() -> None:
    assert decided(snapshot(tracked=Tracked((registration(1, aliases=("champion",)),))), POLICY) == []


def test_an_attempt_with_one_young_file_is_left_alone() -> None:
    one = stored(1, visible=False)
    younger = replace(one, files=(one.files[0], replace(one.files[1], modified=NOW)))
    assert decided(snapshot(versions=(younger,)), POLICY) == []


def test_a_few_orphans_are_crashes_and_many_are_the_wrong_place() -> None:
    assert not too_many(10, 10)
    assert not too_many(100, 1000)
    assert too_many(11, 100)
