from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from registry.plugin import tables, views
from registry.plugin.marks import PLAIN, Marks, marks_for
from registry.plugin.overview import Freeze
from registry.plugin.planning import plan_of
from tests.registry.plugin.scenes import NEW, NOW, OLD, action, revision, seen, served_model, time, under_way

SCENES = {
    "healthy": seen(),
    "validating": seen(under_way(0, "Validating")),
    "paused": seen(
        under_way(2, "Paused", "until 12:08:00", weight=10),
        actions=(action("Pause", "alice@example.com", 3, message=f"paused {NEW}", reason="alarms"),),
    ),
    "baking": seen(
        {"phase": "Baking", "stableRevision": NEW, "previousRevision": OLD, "bakingUntil": time(minutes=-4)}
    ),
    "rejected": seen({"phase": "Rejected", "message": f"{NEW}: no", "rejectedRevisions": []}),
}


def text(shown: RenderableType, width: int = 100, **console: object) -> str:
    """Return what a terminal of a width shows."""
    file = io.StringIO()
    Console(file=file, width=width, highlight=False, **console).print(shown)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("marks", [Marks(), PLAIN], ids=["marks", "plain"])
def test_a_view_fits_into_any_width(scene: str, width: int, marks: Marks) -> None:
    shown = text(views.status(SCENES[scene], NOW, marks, width), width)
    assert max(cell_len(line) for line in shown.splitlines()) <= width
    assert SCENES[scene].phase in shown


@pytest.mark.parametrize("scene", SCENES)
def test_a_terminal_without_unicode_gets_ascii(scene: str) -> None:
    text(views.status(SCENES[scene], NOW, marks_for("ascii"), 100)).encode("ascii")


def test_marks_follow_the_encoding() -> None:
    assert marks_for("utf-8") == Marks()
    assert marks_for("latin-1") == marks_for("no-such-encoding") == PLAIN


def test_states_are_told_without_colours() -> None:
    shown = text(views.status(SCENES["paused"], NOW, Marks(), 100), no_color=True)
    assert "\x1b" not in shown
    assert "▶  3  pause 10 min   8 min left" in shown
    assert "✔  2  10 % of the requests" in shown
    assert "○  4  gates errors" in shown


def test_the_view_says_who_gets_how_much_and_what_one_can_do() -> None:
    shown = text(views.status(SCENES["paused"], NOW, Marks(), 100))
    assert "candidate  20260306000000  ██░" in shown
    assert "10 %" in shown
    assert "1/2 pods ready" in shown
    assert "kubectl telltale resume cars" in shown
    assert "alice@example.com  Pause" in shown
    assert "(alarms)" in shown


def test_text_of_others_is_no_markup() -> None:
    found = seen({"message": "[bold]not markup[/bold] [link=x]"})
    assert "[bold]not markup[/bold] [link=x]" in text(views.status(found, NOW, Marks(), 100))


@pytest.mark.parametrize(("percent", "bar"), [(0, "...."), (1, "#..."), (50, "##.."), (99, "###."), (100, "####")])
def test_a_bar_is_empty_only_at_nothing_and_full_only_at_everything(percent: int, bar: str) -> None:
    assert views.bar_of(percent, 4, PLAIN, "").plain == bar


def test_a_freeze_says_until_when_and_otherwise_when_the_next_one_begins() -> None:
    later = NOW + timedelta(hours=2)
    frozen = text(views.status(replace(seen(), freeze=Freeze(later, None)), NOW, Marks(), 100))
    assert "frozen for 2 h, until Fri 2026-03-06 14:00 UTC; aborts and undos work" in frozen
    free = text(views.status(replace(seen(), freeze=Freeze(None, later)), NOW, Marks(), 100))
    assert "not now; next in 2 h" in free


def test_what_may_be_out_of_date_says_so() -> None:
    shown = text(views.status(replace(seen(), trouble="no answer"), NOW, Marks(), 100))
    assert "may be out of date: no answer" in shown


def test_a_problem_that_the_message_tells_already_is_not_told_twice() -> None:
    condition = {"type": "Degraded", "status": "True", "reason": "Rejected", "message": "it failed"}
    found = seen({"phase": "Rejected", "message": "it failed; the old one serves", "conditions": [condition]})
    assert text(views.status(found, NOW, Marks(), 100)).count("it failed") == 1


def test_a_plan_shows_its_steps_and_how_long_they_take() -> None:
    waiting = under_way(0, "Pending") | {"candidateRevision": None, "attempt": None}
    shown = text(views.plan(plan_of(served_model(waiting)), NOW, Marks()), 200)
    assert f"{NEW} would be rolled out" in shown
    assert "At least 15 min until everything goes to it" in shown
    assert "it waits 2 times for a person" in shown


def test_a_plan_of_what_got_everything_tells_no_time_until_it_does() -> None:
    got = under_way(0)["resolved"]
    baking = {"phase": "Baking", "stableRevision": NEW, "resolved": got, "bakingUntil": time(minutes=-4)}
    shown = text(views.plan(plan_of(served_model(baking)), NOW, Marks()), 200)
    assert "4 min left" in shown
    assert "At least" not in shown


def test_a_history_has_the_newest_first_and_what_became_of_each() -> None:
    past = tables.history_of(
        [
            revision("cars-a", "20260301000000", "1", outcome="RolledBack", by="alice", servedFrom=time(days=6)),
            revision("cars-b", "20260302000000", "2", outcome="Stable", servedFrom=time(days=2)),
            revision("cars-c", "20260303000000", "3", outcome="Rejected", reason="GateFailed"),
        ]
    )
    assert [one.revision for one in past] == ["cars-b", "cars-c", "cars-a"]
    shown = text(tables.history(past, Marks(), 120), 120)
    assert "◀  cars-a" in shown
    assert "alice" in shown
    assert "sha256:a0123456" not in shown
    assert "telltale/predictor:1" in text(tables.history(past, Marks(), 300, wide=True), 300)
    assert max(cell_len(line) for line in text(tables.history(past, Marks(), 50), 50).splitlines()) <= 50


def test_a_list_has_a_line_for_each_model() -> None:
    shown = text(tables.overviews(list(SCENES.values()), NOW, Marks(), 120, namespaces=True), 120).splitlines()
    assert len(shown) == 1 + len(SCENES)
    assert "NAMESPACE" in shown[0]
    assert "20260306000000" in shown[3]
