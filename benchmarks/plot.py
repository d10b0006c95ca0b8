"""`docs/benchmarks.png`: requests/s of everybody at 16 connections, and the shares that have a goal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import GOALS, SERVERS
from benchmarks.page import number

_OURS, _FLOOR, _PEERS, _GOAL = "#1f5fa8", "#8a8f98", "#c9cdd3", "#c0392b"


def draw(results: Mapping[str, float], to: Path) -> None:
    """Write the picture; a server or share without a figure is left out."""
    # Imported late: it takes a second, and not every run draws.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    _requests(left, results)
    _shares(right, results)
    # Without the library's version in it, the same results give the same file.
    figure.savefig(to, dpi=110, metadata={"Software": None})


def _requests(axes: Any, results: Mapping[str, float]) -> None:
    drawn = [server for server in SERVERS if not server.prefix.endswith("_in_two")]
    rows = [(s, results[f"{s.prefix}_rps_c16"]) for s in drawn if f"{s.prefix}_rps_c16" in results]
    rows.sort(key=lambda row: row[1])
    titles = [server.title.replace("`", "") for server, _ in rows]
    bars = axes.barh(titles, [rate for _, rate in rows], color=[_color(server.prefix) for server, _ in rows])
    axes.bar_label(bars, [number(rate) for _, rate in rows], padding=3, fontsize=8)
    if rows:  # no values, no logarithm
        axes.set_xscale("log")
    axes.set_title("Requests/s, one record, 16 connections, one core", fontsize=10)
    axes.margins(x=0.15)
    _plain(axes)


def _color(prefix: str) -> str:
    if prefix == "bare":
        return _FLOOR
    return _OURS if prefix.startswith(("score", "v2_")) else _PEERS


def _shares(axes: Any, results: Mapping[str, float]) -> None:
    rows = [
        (f.name, results[f.name], f.goal)
        for f in reversed(GOALS)
        if "_share_" in f.name and f.goal and f.name in results
    ]
    names = [name for name, _, _ in rows]
    bars = axes.barh(names, [value for _, value, _ in rows], color=_OURS)
    axes.bar_label(bars, [f"{value:.2f}" for _, value, _ in rows], padding=3, fontsize=8)
    for position, (_, _, goal) in enumerate(rows):
        if goal is not None:
            axes.plot([goal.value] * 2, [position - 0.4, position + 0.4], color=_GOAL, linewidth=2)
    axes.set_title("Shares (line: goal)", fontsize=10)
    axes.margins(x=0.15)
    _plain(axes)


def _plain(axes: Any) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
