from __future__ import annotations

import pytest

from benchmarks.figures import FITTING, GOALS, TRAINING, WHY_MISSED, Figure, Goal, missed, verdict


@pytest.mark.parametrize(("goal", "good", "bad"), [(Goal(0.95), 0.95, 0.9499), (Goal(1.5, at_most=True), 1.5, 1.5001)])
def test_a_goal_is_met_on_its_bound(goal: Goal, good: float, bad: float) -> None:
    assert goal.is_met(good)
    assert not goal.is_met(bad)


def test_goals_say_their_direction() -> None:
    assert (str(Goal(1e6)), str(Goal(1.5, at_most=True))) == (">= 1,000,000", "<= 1.5")


FIGURE = Figure("rate", "requests/s", Goal(100))


def test_a_missed_goal_is_reported_with_the_reason_that_a_person_gave() -> None:
    assert verdict(FIGURE, {"rate": 99.0}, {"rate": "the disk is slow"}) == "**missed**: the disk is slow"
    assert verdict(FIGURE, {"rate": 99.0}, {}) == "**missed**"


def test_a_reason_is_not_reported_once_the_goal_is_met() -> None:
    assert verdict(FIGURE, {"rate": 100.0}, {"rate": "the disk is slow"}) == "met"


def test_what_was_not_measured_has_no_verdict() -> None:
    assert verdict(FIGURE, {}) == ""
    assert missed({}) == []


def test_figures_without_a_goal_have_no_verdict() -> None:
    assert verdict(Figure("rate", "requests/s"), {"rate": 1.0}) == ""


def test_missed_goals_are_listed() -> None:
    assert [figure.name for figure in missed({"score_share_of_bare_c1": 0.9, "rss_mb": 100.0, "other": 1.0})] == [
        "score_share_of_bare_c1"
    ]


def test_names_are_unique_and_reasons_belong_to_figures_with_a_goal() -> None:
    names = [figure.name for figure in (*GOALS, *FITTING, *TRAINING)]
    assert len(set(names)) == len(names)
    assert set(WHY_MISSED) <= {figure.name for figure in (*GOALS, *FITTING, *TRAINING) if figure.goal}
