from __future__ import annotations

import dataclasses

from registry.alias_policy import Hold, Promote, RecordVerdict, Serve, Snapshot, Version, decide
from tests.registry.test_offline_gate import GOOD

V1, V2, V3 = (Version(f"2024011510000{i}", GOOD) for i in (1, 2, 3))
BAD = Version("20240115100004", dataclasses.replace(GOOD, probe_flips=3))
FEATURES = GOOD.feature_names


def snapshot(
    *, untested: Version | None = None, champion: Version | None = None, served: Version | None = None
) -> Snapshot:
    return Snapshot(untested, champion, None if served is None else served.id, None if served is None else FEATURES)


def test_the_first_version_is_promoted() -> None:
    step = decide(snapshot(untested=V1))
    assert isinstance(step, Promote)
    assert step.version == V1


def test_a_newer_version_that_passes_is_promoted() -> None:
    assert isinstance(decide(snapshot(untested=V2, champion=V1, served=V1)), Promote)


def test_a_version_that_fails_is_recorded_and_serves_nobody() -> None:
    step = decide(snapshot(untested=BAD, champion=V1, served=V1))
    assert isinstance(step, RecordVerdict)
    assert not step.verdict.passed


def test_a_version_older_than_champion_never_takes_its_place() -> None:
    step = decide(snapshot(untested=V1, champion=V2, served=V2))
    assert isinstance(step, RecordVerdict)
    assert (step.verdict.passed, step.verdict.reason) == (True, "Superseded")


def test_a_promotion_cut_off_before_its_verdict_is_decided_again() -> None:
    assert isinstance(decide(snapshot(untested=V2, champion=V2, served=V2)), Promote)


def test_a_person_who_moves_champion_back_is_followed() -> None:
    assert decide(snapshot(champion=V1, served=V3)) == Serve(V1)


def test_a_champion_that_cannot_serve_is_held_and_says_why() -> None:
    step = decide(snapshot(champion=BAD, served=V1))
    assert isinstance(step, Hold)
    assert step.verdict.reason == "ScoresDiffer"


def test_nothing_is_done_where_champion_is_served_or_unset() -> None:
    assert decide(snapshot(champion=V1, served=V1)) is None
    assert decide(snapshot(served=V1)) is None
