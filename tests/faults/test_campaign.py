"""The schedules find what is planted in the controller; without that they find nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from faults import storm, twin
from faults.campaign import play
from registry.api.status import ServedModelStatus
from registry.effects import Effects
from registry.gather import Gathered
from registry.kubernetes import comparison
from registry.kubernetes.resources import Manifest, Resource
from registry.reconciler import Reconciler
from registry.rollout.draft import Draft
from registry.rollout.intent import Intent

SEEDS = range(60)


def found(seeds: range = SEEDS) -> str | None:
    """Return the first thing that is wrong in these schedules."""
    return next((wrong[0] for seed in seeds if (wrong := play(seed))), None)


def test_nothing_is_wrong_with_the_controller_as_it_is() -> None:
    assert found(range(20)) is None


def test_a_schedule_is_the_same_each_time_it_is_played() -> None:
    def history(seed: int) -> tuple[float, int, list[str]]:
        played = storm.Storm(seed)
        played.play()
        written = [] if played.simulation.replica is None else played.simulation.replica.api.writes
        return played.simulation.now(), played.simulation.crashes, written

    assert history(7) == history(7)
    assert history(7) != history(9)


def test_an_effect_that_is_moved_before_the_write_of_the_status_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out = Reconciler._carry_out

    def effects_first(self: Any, key: Any, gathered: Gathered, spec: Any, intent: Intent) -> Any:
        revisions = {name: revision.spec for name, revision in gathered.snapshot.revisions.items()}
        self._effects.serve(gathered, spec, intent.status, revisions)
        return carry_out(self, key, gathered, spec, intent)

    monkeypatch.setattr(Reconciler, "_carry_out", effects_first)
    assert "no status has had" in str(found())


def test_an_action_that_takes_effect_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    processed = Draft._processed

    def forgetful(self: Draft, action: Any, result: Any) -> None:
        processed(self, action, result)
        self.set(processed_actions=self.status.processed_actions[:-1])

    monkeypatch.setattr(Draft, "_processed", forgetful)
    assert found() is not None


def test_a_status_that_is_written_without_asking_for_conflicts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    write_status = Effects.write_status

    def unconditional(self: Effects, resource: Resource, manifest: Manifest, status: Any) -> Manifest:
        metadata = {name: value for name, value in manifest["metadata"].items() if name != "resourceVersion"}
        return write_status(self, resource, manifest | {"metadata": metadata}, status)

    monkeypatch.setattr(Effects, "write_status", unconditional)
    assert found(range(1, 100, 2)) is not None


def test_pods_that_are_deleted_while_they_get_requests_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.effects._is_needed", lambda _live, _status: False)
    monkeypatch.setattr("registry.effects.named_revisions", lambda _live: set())
    monkeypatch.setattr("registry.rollout.manifests._with_pods", _candidate_alone)
    assert found() is not None


def test_what_somebody_adds_by_hand_and_nobody_takes_away_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.effects.is_as_wanted", lambda wanted, live, _: comparison._holds(live, wanted))
    assert found(range(1, 400, 2)) is not None


def test_a_scenario_that_ends_otherwise_in_bad_weather_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin, "_expected", lambda _name: {"status": {"phase": "Elsewhere"}})
    assert "Elsewhere" in str(twin.play(2))


def _candidate_alone(status: ServedModelStatus) -> Iterator[str]:
    """Yield the candidate where there is one: what serves beside it is forgotten."""
    name = status.candidate_revision or status.stable_revision
    return iter([name] if name else [])
