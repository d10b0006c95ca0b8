from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any, Never

import pytest

from registry.errors import KubernetesForbidden, KubernetesUnavailable
from registry.kubernetes.resources import (
    DEPLOYMENTS,
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    Manifest,
    Resource,
)
from registry.plugin import showing
from registry.plugin.cluster import Change, Cluster
from registry.plugin.errors import CannotReach
from registry.plugin.options import Access
from registry.plugin.watching import Resources, _batch, _folded, _Listed, _Trouble, follow, of_model, selector
from tests.registry.plugin.scenes import action, deployment, revision, served_model
from tests.waiting import wait_for


def test_changes_are_folded_into_what_was_listed() -> None:
    first, second = revision("cars-a", "1", "1"), revision("cars-b", "2", "2")
    known = Resources().listed(MODEL_REVISIONS, [first])
    known = known.changed(MODEL_REVISIONS, Change("ADDED", second))
    known = known.changed(MODEL_REVISIONS, Change("MODIFIED", first | {"status": {"outcome": "Stable"}}))
    statuses = {one["metadata"]["name"]: one["status"] for one in known.of(MODEL_REVISIONS)}
    assert statuses == {"cars-a": {"outcome": "Stable"}, "cars-b": {}}
    known = known.changed(MODEL_REVISIONS, Change("DELETED", first))
    assert known.of(MODEL_REVISIONS) == [second]


def test_listing_anew_forgets_what_is_gone_and_what_was_wrong() -> None:
    known = Resources().listed(DEPLOYMENTS, [deployment("cars-a", 1, 1)])
    known = _folded(known, _Trouble(DEPLOYMENTS, KubernetesUnavailable("away")))
    assert known.trouble == "away"
    known = _folded(known, _Listed(DEPLOYMENTS, []))
    assert (known.of(DEPLOYMENTS), known.trouble) == ([], "")


def test_only_the_served_model_itself_has_to_be_readable() -> None:
    denied = KubernetesForbidden("no")
    assert not _folded(Resources(), _Trouble(DEPLOYMENTS, denied, is_final=True)).knows(DEPLOYMENTS)
    with pytest.raises(KubernetesForbidden):
        _folded(Resources(), _Trouble(SERVED_MODELS, denied, is_final=True))


def test_actions_are_selected_by_what_they_name_since_they_may_have_no_label() -> None:
    other = action("Abort", "alice", 1)
    other["spec"]["servedModel"] = "trucks"
    mine = action("Abort", "alice", 2)
    assert of_model(ROLLOUT_ACTIONS, "cars", [other, mine]) == [mine]
    assert selector(ROLLOUT_ACTIONS, "cars") == {}
    assert of_model(SERVED_MODELS, "cars", [served_model()]) == [served_model()]


def test_changes_that_come_together_are_shown_together_and_silence_is_a_batch_as_well() -> None:
    news: queue.SimpleQueue[_Listed | _Trouble] = queue.SimpleQueue()
    for _ in range(3):
        news.put(_Listed(DEPLOYMENTS, []))
    assert len(list(_batch(news, 1.0))) == 3  # type: ignore[arg-type]
    assert list(_batch(news, 0.01)) == []  # type: ignore[arg-type]


class Broken(Cluster):
    """An API server that answers for the ServedModel, and whose lists fail."""

    def __init__(self) -> None:
        self.error: Exception = CannotReach("no answer")
        self.closed = 0

    def another(self) -> Cluster:
        return self

    def get(self, resource: Resource, namespace: str, name: str) -> Manifest:  # noqa: ARG002 - there is only `cars`
        return served_model()

    def list(self, *_: Any) -> Never:
        raise self.error

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def broken() -> Iterator[Broken]:
    """One whose watches end with the test."""
    found = Broken()
    yield found
    found.error = KubernetesForbidden("over")


@pytest.mark.parametrize("error", [KeyError("object"), RuntimeError("a fault of ours"), CannotReach("no answer")])
def test_a_watch_that_breaks_by_anything_is_noticed_by_the_view(broken: Broken, error: Exception) -> None:
    broken.error = error
    seen = next(follow(broken, "fleet", "cars", 0.01))
    assert str(error) in seen.trouble


def test_a_view_that_nobody_looks_at_any_more_closes_its_connections(broken: Broken) -> None:
    view = follow(broken, "fleet", "cars", 0.01)
    next(view)
    assert broken.closed == 0
    view.close()
    wait_for(lambda: broken.closed == 4, "the end of one watch of each kind", seconds=10)


def test_a_model_whose_watches_never_began_is_shown_as_it_was_and_not_as_deleted(
    broken: Broken, capsys: pytest.CaptureFixture[str]
) -> None:
    assert showing.watch(Access(broken, "fleet"), "cars", "done", 0.0) == 0
    out = capsys.readouterr().out
    assert "Healthy" in out
    assert "(no answer)" in out


def test_a_wait_that_ends_with_1_says_what_stands_in_the_way(
    broken: Broken, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": "AliasMissing", "message": "no alias champion"}
    found = Resources().listed(SERVED_MODELS, [served_model({"conditions": [stalled]})])
    monkeypatch.setattr(showing, "follow", lambda *_: iter([found]))
    assert showing.watch(Access(broken, "fleet"), "cars", "healthy", None) == 1
    assert capsys.readouterr().err == "Error: no alias champion\n"
