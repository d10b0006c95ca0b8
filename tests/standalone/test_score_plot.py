"""The plot of a scored file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from standalone.score_plot import Scored, draw, panel_features, save_plot


def scored(rows: int = 400, features: int = 1, vehicles: int = 1, *, seed: int = 0) -> Scored:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, features))
    scores = rng.uniform(0.0, 0.2, rows)
    low = min(20, rows // 2)
    scores[:low] = np.linspace(-0.2, -0.01, low)
    return Scored(
        title="data.csv",
        feature_names=tuple(f"sensor_{number}" for number in range(features)),
        vehicle_ids=[f"VH-{row % vehicles}" for row in range(rows)],
        times=np.datetime64("2024-01-15", "us") + np.arange(rows) * np.timedelta64(60_000_000, "us"),
        X=X,
        scores=scores,
    )


def test_the_strongest_anomalies_are_the_lowest_scores_and_flagged() -> None:
    data = scored(rows=1000)
    assert data.strongest.tolist() == [0, 1, 2, 3, 4]
    assert data.flagged.tolist() == list(range(20))
    assert len(scored(rows=100_000).strongest) == 20
    assert len(scored(rows=4).strongest) == 2


def test_nothing_flagged_means_nothing_strong() -> None:
    data = scored()
    flat = Scored("t", data.feature_names, data.vehicle_ids, data.times, data.X, np.zeros(len(data.scores)))
    assert len(flat.strongest) == len(flat.flagged) == 0
    assert len(draw(flat).axes) == 2


@pytest.mark.parametrize(("features", "panels"), [(1, 1), (2, 2), (6, 6), (9, 6)])
def test_each_feature_has_a_panel_up_to_six_and_the_decision_function_one(features: int, panels: int) -> None:
    figure = draw(scored(features=features))
    assert len(figure.axes) == panels + 1
    assert figure.axes[-1].get_title(loc="left").startswith("decision function")


def test_of_many_features_those_with_odd_flagged_values_are_drawn_in_file_order() -> None:
    data = scored(features=10)
    data.X[:20, [9, 4]] += 30.0
    shown = panel_features(data)
    assert len(shown) == 6
    assert {4, 9} <= set(shown)
    assert shown == sorted(shown)


def test_the_strongest_points_carry_rings_at_their_place() -> None:
    data = scored(rows=400)
    rings = [mark for mark in draw(data).axes[0].collections if mark.get_label() == "strongest anomalies"]
    drawn = np.asarray(rings[0].get_offsets())
    assert np.allclose(sorted(drawn[:, 1]), sorted(data.X[data.strongest, 0]))


@pytest.mark.parametrize(("vehicles", "lines"), [(1, 1), (3, 3), (8, 8), (50, 1)])
def test_few_vehicles_have_a_line_each_and_many_become_dots(vehicles: int, lines: int) -> None:
    assert len(draw(scored(vehicles=vehicles)).axes[0].lines) == lines


@pytest.mark.parametrize("data", [scored(1), scored(2, 3), scored(50, 8, 10), scored(40, 2, 8)])
def test_a_png_of_a_legible_size_is_written(data: Scored, tmp_path: Path) -> None:
    save_plot(data, tmp_path / "plot.png")
    height, width, _ = matplotlib.image.imread(tmp_path / "plot.png").shape
    assert width == 1560
    assert 600 < height < 1600


def test_odd_names_and_values_are_drawn_without_complaint(tmp_path: Path) -> None:
    data = scored(rows=30)
    flat = np.full_like(data.X, 45.0)
    odd = Scored("a $x_1^$ file " * 20, ("$\\frac",), data.vehicle_ids, data.times, flat, data.scores)
    save_plot(odd, tmp_path / "plot.png")
    huge = Scored("t", ("v",), data.vehicle_ids, data.times, data.X * 1e38, data.scores)
    save_plot(huge, tmp_path / "plot.png")


def test_drawing_leaves_matplotlibs_global_state_alone() -> None:
    code = "import sys, standalone.score_plot; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
