"""The picture of a scored file: values over time with the flagged points, and the decision function beneath.

Isolation Forests flag a fixed share of what trained them, so a flag alone says little: the deeper a point lies under
the zero line, the larger and darker it is drawn, and the strongest ones carry a ring.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

MOST_PANELS = 6
_MOST_LINES = 8
_MOST_BESIDE_TITLE = 5
# From here on flagged points are drawn smaller, or they would hide everything.
_MANY_FLAGGED = 500
_STRONGEST_SHARE = 0.005
_LEAST_STRONGEST, _MOST_STRONGEST = 3, 20
_VALUE, _FLAG, _RING, _QUIET, _LEVEL = "#33658a", "#e4572e", "#8b1e1e", "#6b7280", "#a8b3c2"
_INK = "#111827"
# A flat file scores 0 everywhere, but for rounding: the axis does not zoom in on that.
_LEAST_RANGE = 0.05
_LINES = ("#33658a", "#5b8e7d", "#8d6a9f", "#b08d57", "#4f7cac", "#7a9e3f", "#9c6644", "#6c757d")


@dataclass(frozen=True)
class Scored:
    """Rows and their scores.

    Args:
        title: what the picture is of.
        feature_names: the columns of ``X``.
        vehicle_ids: one for each row.
        times: datetime64[us] in UTC, shape ``(rows,)``.
        X: the values, shape ``(rows, features)``.
        scores: the decision function, shape ``(rows,)``; below 0 is anomalous.

    """

    title: str
    feature_names: tuple[str, ...]
    vehicle_ids: list[str]
    times: NDArray[np.datetime64]
    X: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def flagged(self) -> NDArray[np.intp]:
        """Which rows are flagged, by time."""
        rows = np.flatnonzero(self.scores < 0)
        return rows[np.argsort(self.times[rows], kind="stable")]

    @property
    def strongest(self) -> NDArray[np.intp]:
        """Return the lowest-scoring flagged rows, the lowest first: 0.5 % of all, at least 3 and at most 20."""
        most = int(np.clip(round(_STRONGEST_SHARE * len(self.scores)), _LEAST_STRONGEST, _MOST_STRONGEST))
        flagged = self.flagged
        return flagged[np.argsort(self.scores[flagged], kind="stable")][:most]


def save_plot(scored: Scored, path: Path) -> None:
    """Draw ``scored`` and write it to ``path`` as PNG.

    Raises:
        OSError: the file cannot be written.

    """
    figure = draw(scored)
    FigureCanvasAgg(figure).print_figure(path, format="png", dpi=120)


def draw(scored: Scored) -> Figure:
    """Return the figure: a panel for each feature (at most six, the most telling ones), then the decision function."""
    shown = panel_features(scored)
    heights = [2.6 if len(shown) == 1 else 1.5] * len(shown) + [1.7]
    figure = Figure(figsize=(13.0, 1.3 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, column in zip(axes[:-1], shown, strict=True):
        _draw_feature(axis, scored, column)
    _draw_scores(axes[-1], scored)
    _dress(figure, axes[0], scored, len(shown))
    locator = mdates.AutoDateLocator(minticks=4, maxticks=10)  # type: ignore[no-untyped-call]  # matplotlib's gap
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]  # the same
    axes[-1].set_xlabel("time (UTC)", color=_QUIET)
    return figure


def panel_features(scored: Scored) -> list[int]:
    """Return the columns to draw: all, or the six whose flagged values lie farthest from the median, in file order."""
    count = len(scored.feature_names)
    if count <= MOST_PANELS or not len(scored.flagged):
        return list(range(min(count, MOST_PANELS)))
    distance = distances(scored, scored.flagged).mean(axis=0)
    return sorted(np.argsort(-distance, kind="stable")[:MOST_PANELS].tolist())


def distances(scored: Scored, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return how far the rows' values lie from the median, in units of the middle 90 %, shape ``(rows, features)``."""
    low, middle, high = np.percentile(scored.X, [5, 50, 95], axis=0)
    spread = np.where(high > low, high - low, 1.0)
    return np.asarray(np.abs(scored.X[rows] - middle) / spread, dtype=np.float64)


def _draw_feature(axis: Axes, scored: Scored, column: int) -> None:
    values = scored.X[:, column]
    _draw_lines(axis, scored, values)
    _mark(axis, scored, values)
    axis.margins(y=0.1)
    axis.set_title(_short(scored.feature_names[column], 60), loc="left", fontsize=10, color=_INK)
    _quiet(axis)


def _draw_lines(axis: Axes, scored: Scored, values: NDArray[np.float64]) -> None:
    """Draw a line for each vehicle, or dots where there are too many vehicles to follow."""
    ids = np.array(scored.vehicle_ids, dtype=object)
    vehicles = sorted(set(scored.vehicle_ids))
    if len(vehicles) > _MOST_LINES:
        axis.plot(scored.times, values, ".", color=_VALUE, markersize=2, alpha=0.35, rasterized=True)
        return
    for number, vehicle in enumerate(vehicles):
        rows = np.flatnonzero(ids == vehicle)
        rows = rows[np.argsort(scored.times[rows], kind="stable")]
        label = _short(vehicle) if len(vehicles) > 1 else None
        axis.plot(scored.times[rows], values[rows], color=_LINES[number], linewidth=0.9, alpha=0.85, label=label)


def _mark(axis: Axes, scored: Scored, values: NDArray[np.float64]) -> None:
    """Mark the flagged rows, larger the lower they score, and put rings around the strongest."""
    flagged, strongest = scored.flagged, scored.strongest
    if not len(flagged):
        return
    depth = scored.scores[flagged] / scored.scores[flagged].min()
    axis.scatter(
        scored.times[flagged],
        values[flagged],
        s=(8 + 26 * depth) * np.clip(_MANY_FLAGGED / len(flagged), 0.05, 1.0),
        color=_FLAG,
        alpha=0.75,
        linewidths=0,
        zorder=3,
        label="flagged",
    )
    axis.scatter(
        scored.times[strongest],
        values[strongest],
        s=110,
        facecolors="none",
        edgecolors=_RING,
        linewidths=1.5,
        zorder=4,
        label="strongest anomalies",
    )


def _draw_scores(axis: Axes, scored: Scored) -> None:
    order = np.argsort(scored.times, kind="stable")
    times, scores = scored.times[order], scored.scores[order]
    many = len(set(scored.vehicle_ids)) > 1
    axis.plot(times, scores, "." if many else "-", color=_LEVEL, linewidth=0.7, markersize=2)
    axis.vlines(scored.times[scored.flagged], scored.scores[scored.flagged], 0.0, color=_FLAG, linewidth=1.0, alpha=0.6)
    axis.plot(
        scored.times[scored.strongest],
        scored.scores[scored.strongest],
        "o",
        markerfacecolor="none",
        markeredgecolor=_RING,
        markersize=7,
        markeredgewidth=1.4,
    )
    axis.axhline(0.0, color=_INK, linewidth=0.9, linestyle="--")
    axis.set_ylim(1.15 * min(-_LEAST_RANGE, scores.min()), 1.15 * max(_LEAST_RANGE, scores.max()))
    axis.set_title("decision function (anomalous below 0)", loc="left", fontsize=10, color=_INK)
    _quiet(axis)


def _dress(figure: Figure, top: Axes, scored: Scored, panels: int) -> None:
    """Put the title and one legend over the panels."""
    count, flagged = len(scored.scores), len(scored.flagged)
    parts = [f"{flagged:,} of {count:,} rows flagged ({flagged / count:.1%})"]
    if panels < len(scored.feature_names):
        parts.append(f"{panels} of {len(scored.feature_names)} features shown")
    figure.suptitle(f"{_short(scored.title, 90)}\n{', '.join(parts)}", x=0.01, ha="left", fontsize=12, color=_INK)
    handles, labels = top.get_legend_handles_labels()
    if labels:
        place: Literal["outside upper right", "outside lower center"] = "outside upper right"
        if len(labels) > _MOST_BESIDE_TITLE:
            place = "outside lower center"
        figure.legend(handles, labels, loc=place, ncols=5, frameon=False, fontsize=9)


def _quiet(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#9ca3af")
    axis.tick_params(colors=_QUIET, labelsize=9)
    axis.grid(visible=True, color="#e5e7eb", linewidth=0.7)
    axis.set_axisbelow(True)


def _short(text: str, longest: int = 28) -> str:
    """Return ``text`` so that it fits, with dollar signs that matplotlib does not take for mathematics."""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return cut.replace("$", r"\$")
