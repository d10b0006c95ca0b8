from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from killpoints.__main__ import parse
from killpoints.campaign import Field, play, playing_field, points, record, sample, some
from killpoints.final_state import canonical, differences
from killpoints.point import Baseline, Point
from killpoints.scenarios import SCENARIOS, named
from killpoints.stage import ClusterStage
from registry.errors import KubernetesUnavailable
from registry.gather import Gathered
from registry.reconciler import Reconciler
from registry.rollout.intent import Intent

LABELS = ("create ModelRevision m-a", "replaceStatus ServedModel m Validating")


def every() -> list[Point]:
    return points(SCENARIOS, {scenario.name: Baseline(LABELS, ({},)) for scenario in SCENARIOS})


def test_there_is_a_point_before_and_after_each_write_of_each_scenario() -> None:
    found = every()
    assert len(found) == len(SCENARIOS) * len(LABELS) * 2
    assert len({str(point) for point in found}) == len(found)


def test_a_sample_follows_from_its_seed() -> None:
    one, same, other = (list(map(str, sample(every(), 20, 5, seed))) for seed in (1, 1, 2))
    assert one == same != other
    assert sum("SIGKILL" in point for point in one) == 5
    assert some(SCENARIOS, 30, 1) == some(SCENARIOS, 30, 1) != some(SCENARIOS, 30, 2)
    assert len(some(SCENARIOS, None, 1)) == len(SCENARIOS)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [([], 300), (["--points", "30"], 30), (["--all"], None), (["--only", "abort"], None)],
)
def test_it_plays_a_quarter_of_an_hours_points_unless_told_otherwise(arguments: list[str], count: int | None) -> None:
    assert parse(arguments).points == count


def test_states_of_two_served_models_are_compared_without_their_names() -> None:
    left = canonical({"serving": ["HTTPRoute k1 k1-abc 100"], "tags": {"t.fleet.k1.why": "k1-abc"}}, "fleet", "k1")
    right = canonical({"serving": ["HTTPRoute k7 k7-abc 100"], "tags": {"t.road.k7.why": "k7-abc"}}, "road", "k7")
    assert left == right
    right["serving"] = ["HTTPRoute m m-abc 90"]
    assert len(differences(left, right)) == 1


def _silent(_line: str, _ended: int) -> None:
    pass


@pytest.fixture
def where() -> Iterator[Field]:
    """A place on a real cluster."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("needs a cluster with KServe and the Gateway API's kinds: set KUBECONFIG")
    with playing_field(2) as found:
        yield found


def wrong(where: Field, of: str, kind: str) -> dict[str, list[str]]:
    """Return what is wrong after two kills at the first write of a kind, one of them by SIGKILL."""
    scenario = named(of)
    baselines = record(where, [scenario], _silent)
    chosen = [point for point in points([scenario], baselines) if point.kill.label.startswith(kind)][:2]
    return play(where, sample(chosen, None, 1, 0), baselines, lambda _point, _wrong: None).wrong


def test_a_kill_changes_nothing_in_the_end(where: Field) -> None:
    assert wrong(where, "abort", "replaceStatus ServedModel") == {}


def test_an_effect_that_is_moved_before_the_write_of_the_status_is_found(
    where: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out = Reconciler._carry_out

    def effects_first(self: Any, key: Any, gathered: Gathered, spec: Any, intent: Intent) -> Any:
        revisions = {name: revision.spec for name, revision in gathered.snapshot.revisions.items()}
        self._effects.serve(gathered, spec, intent.status, revisions)
        return carry_out(self, key, gathered, spec, intent)

    baselines = record(where, [named("abort")], _silent)
    monkeypatch.setattr(Reconciler, "_carry_out", effects_first)
    chosen = [point for point in points([named("abort")], baselines) if "RollingBack step" in point.kill.label][:1]
    assert chosen
    outcome = play(where, chosen, baselines, lambda _point, _wrong: None)
    assert "no status has had" in str(outcome.wrong)


def test_what_the_api_server_refuses_to_people_is_asked_again(where: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[str, int]] = []
    act, refused = ClusterStage.act, [KubernetesUnavailable("etcd has no leader")]

    def refusing(self: ClusterStage, *action: Any) -> None:
        if refused:
            raise refused.pop()
        act(self, *action)

    monkeypatch.setattr(ClusterStage, "act", refusing)
    baselines = record(where, [named("undo-warm")], lambda *line: lines.append(line))
    assert lines[0] == ("undo-warm: NotPlayed: KubernetesUnavailable: etcd has no leader", 0)
    assert lines[1:] == [(f"undo-warm: {len(baselines['undo-warm'].labels)} writes", 1)]
