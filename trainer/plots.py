"""The pictures of a training run: where the scores lie, when records were flagged, what the features range over. PURE.

Figures are made as objects, without pyplot, whose global state a thread would share. Whatever the window's size, a
picture shows at most some thousand points: more would cover each other and take seconds to draw.
"""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from trainer.dataset import Dataset

_INK, _FLAG, _QUIET, _PALE = "#27374d", "#c8442f", "#9db2bf", "#dde6ed"
_MOST_POINTS = 4_000
_MOST_FEATURES = 24
_LONGEST_NAME = 28
_BINS = 50
# In time, a single record gets this much room on either side: half an hour, in microseconds.
_ROOM = 1_800_000_000


def render(dataset: Dataset, scores: NDArray[np.float64], title: str) -> dict[str, bytes]:
    """Return the run's plots as PNG files by name; ``scores`` is the decision function of the window's rows."""
    figures = {
        "score_histogram.png": score_histogram(scores, title),
        "flagged_over_time.png": flagged_over_time(dataset, scores, title),
        "feature_ranges.png": feature_ranges(dataset, scores, title),
    }
    return {name: _png(figure) for name, figure in figures.items()}


def score_histogram(scores: NDArray[np.float64], title: str) -> Figure:
    """Show how the decision function is spread, with the flagged side in another colour."""
    figure, (axes,) = _figure(f"{title}: scores of the training records")
    width = max(float(np.ptp(scores)), 0.2) / _BINS
    # Whole multiples of the width, so that no bar stands on both sides of 0.
    edges = np.arange(np.floor(scores.min() / width), np.floor(scores.max() / width) + 2) * width
    for chosen, colour, word in ((scores >= 0, _QUIET, "normal"), (scores < 0, _FLAG, "flagged")):
        counts, _ = np.histogram(scores[chosen], bins=edges)
        axes.bar(edges[:-1], counts, width, align="edge", color=colour, label=f"{word}: {int(chosen.sum()):,}")
    axes.axvline(0, color=_INK, linewidth=1)
    axes.set_xlabel("decision function (below 0 is anomalous)")
    axes.set_ylabel("records")
    axes.set_xlim(min(edges[0], -0.1), max(edges[-1], 0.1))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes)
    return figure


def flagged_over_time(dataset: Dataset, scores: NDArray[np.float64], title: str) -> Figure:
    """Show the decision function over time, and below it how many records were flagged in each part of that time."""
    figure, (above, below) = _figure(f"{title}: flagged records over time", rows=(3, 1), height=4.8)
    times, flagged = dataset.timestamps, scores < 0
    size = 30 if len(scores) < 50 else 12 if len(scores) < 1_000 else 5
    sides = ((~flagged, _QUIET, size, "normal"), (flagged, _FLAG, 2 * size, "flagged"))
    for chosen, colour, area, word in sides:
        rows = _thinned(np.flatnonzero(chosen), _MOST_POINTS)
        above.scatter(_dates(times[rows]), scores[rows], s=area, color=colour, linewidths=0, label=word)
    above.axhline(0, color=_INK, linewidth=1)
    above.set_ylabel("decision function")
    _legend(above)
    first, last = int(times.min()), int(times.max())
    if first == last:
        first, last = first - _ROOM, last + _ROOM
    edges = np.linspace(first, last, _BINS + 1)
    counts, _ = np.histogram(times[flagged], bins=edges)
    below.bar(_dates(edges[:-1]), counts, np.diff(_dates(edges)), align="edge", color=_FLAG)
    below.set_ylabel("flagged")
    below.set_xlabel("time (UTC)")
    below.set_ylim(0, max(1.0, 1.1 * float(counts.max())))
    below.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    margin = (last - first) / 50
    below.set_xlim(*_dates(np.array([first - margin, last + margin])))
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]  # matplotlib leaves its dates untyped
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]  # the same
    return figure


def feature_ranges(dataset: Dataset, scores: NDArray[np.float64], title: str) -> Figure:
    """Show each feature's range, scaled to its 5th and 95th percentile, with the flagged records in it."""
    flagged = scores < 0
    X, columns = dataset.X, _telling(dataset.X, flagged)
    some = (
        f", {len(columns)} of {X.shape[1]}: where flagged records stand out most" if len(columns) < X.shape[1] else ""
    )
    figure, (axes,) = _figure(f"{title}: feature ranges{some}", height=1.8 + 0.36 * len(columns))
    low, high, *inner = _quantiles(X, (0.05, 0.95, 0.01, 0.25, 0.5, 0.75, 0.99), columns)
    rows = np.arange(len(columns))
    p1, p25, p50, p75, p99 = (_scaled(quantile, low, high) for quantile in inner)
    axes.barh(rows, p99 - p1, left=p1, height=0.5, color=_PALE, label="98 % of all records")
    axes.barh(rows, p75 - p25, left=p25, height=0.5, color=_QUIET, label="half of them")
    axes.scatter(p50, rows, marker="|", s=120, color=_INK, linewidths=1.5, label="median")
    shown = _thinned(np.flatnonzero(flagged), max(20, _MOST_POINTS // len(columns) // 2))
    beside = np.random.default_rng(0).uniform(-0.2, 0.2, size=(len(shown), 1)) + rows
    places = _scaled(X[np.ix_(shown, columns)], low, high)
    axes.scatter(places, beside, s=14, color=_FLAG, linewidths=0, alpha=0.6, label="flagged records")
    names = [_short(dataset.feature_names[column]) for column in columns]
    axes.set_yticks(rows, [f"{name}   {a:.4g} … {b:.4g}" for name, a, b in zip(names, low, high, strict=True)])
    axes.set_ylim(len(columns) - 0.4, -0.6)
    axes.set_xlim(-2.1, 3.1)
    for edge in (0, 1):
        axes.axvline(edge, color=_INK, linewidth=0.8, linestyle=":")
    axes.set_xlabel("0 and 1: the 5th and 95th percentile, printed beside the name")
    _legend(axes)
    return figure


def _telling(X: NDArray[np.float64], flagged: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the columns to show, in their order: all, or those in which flagged rows lie farthest from the middle."""
    if X.shape[1] <= _MOST_FEATURES:
        return np.arange(X.shape[1])
    low, middle, high = _quantiles(X, (0.05, 0.5, 0.95), np.arange(X.shape[1]))
    away = (
        np.median(np.abs(_scaled(X[flagged], low, high) - _scaled(middle, low, high)), axis=0) if flagged.any() else 0
    )
    order = np.argsort(-(away + np.zeros(X.shape[1])), kind="stable")
    return np.sort(order[:_MOST_FEATURES])


def _quantiles(X: NDArray[np.float64], q: tuple[float, ...], columns: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return quantiles of some columns, shape ``(len(q), len(columns))``, with a copy of one column at a time."""
    return np.stack([np.quantile(X[:, column], q) for column in columns], axis=1)


def _scaled(values: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values in units of their feature's range, cut off at twice the range on either side."""
    # A range of a few subnormals would overflow the division; it is drawn as if there were none.
    varies = high - low > np.finfo(np.float64).tiny * 1e300
    scaled: NDArray[np.float64] = np.where(varies, (values - low) / np.where(varies, high - low, 1.0), 0.5)
    return np.clip(scaled, -2.0, 3.0)


def _figure(title: str, *, rows: tuple[int, ...] = (1,), height: float = 4.0) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(9, height), layout="constrained")
    grid = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=rows)
    for axes in grid[:, 0]:
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=_INK)
    return figure, list(grid[:, 0])


def _legend(axes: Axes) -> None:
    """Put the legend above the axes, where it covers no point."""
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0, fontsize=9)


def _dates(microseconds: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return matplotlib's dates: days since 1970."""
    return np.asarray(microseconds, dtype=np.float64) / 86_400e6


def _thinned(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Return at most ``most`` of the rows, evenly taken."""
    return rows[:: max(1, -(-len(rows) // most))]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=100)
    return sink.getvalue()
