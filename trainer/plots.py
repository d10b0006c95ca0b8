"""The pictures of a training run: where the scores lie, when rows were flagged, what the features range over. PURE.

Figures are made as objects, without pyplot, whose global state a thread would share.
"""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trainer.dataset import Dataset

_INK, _FLAG, _QUIET = "#27374d", "#c8442f", "#9db2bf"
_MOST_POINTS = 5_000
_MOST_FEATURES = 24


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
    figure, axes = _figure(title, "Scores of the training records")
    edges = np.histogram_bin_edges(scores, bins=min(60, max(5, len(scores) // 10)))
    axes.hist(scores[scores >= 0], bins=list(edges), color=_QUIET, label=f"normal: {int(np.sum(scores >= 0)):,}")
    axes.hist(scores[scores < 0], bins=list(edges), color=_FLAG, label=f"flagged: {int(np.sum(scores < 0)):,}")
    axes.axvline(0, color=_INK, linewidth=1)
    axes.set_xlabel("decision function (below 0 is anomalous)")
    axes.set_ylabel("records")
    axes.legend(frameon=False)
    return figure


def flagged_over_time(dataset: Dataset, scores: NDArray[np.float64], title: str) -> Figure:
    """Show the decision function over time; all flagged records, and as many of the others as can be told apart."""
    figure, axes = _figure(title, "Flagged records over time")
    times = dataset.timestamps.astype("datetime64[us]")
    flagged = np.flatnonzero(scores < 0)
    normal = _thinned(np.flatnonzero(scores >= 0))
    flagged = _thinned(flagged)
    axes.scatter(times[normal], scores[normal], s=6, color=_QUIET, linewidths=0, label="normal")
    axes.scatter(times[flagged], scores[flagged], s=12, color=_FLAG, linewidths=0, label="flagged")
    axes.axhline(0, color=_INK, linewidth=1)
    axes.set_xlabel("time (UTC)")
    axes.set_ylabel("decision function")
    axes.legend(frameon=False)
    figure.autofmt_xdate()
    return figure


def feature_ranges(dataset: Dataset, scores: NDArray[np.float64], title: str) -> Figure:
    """Show each feature's range, scaled to its 5th and 95th percentile, with the flagged records beside the others."""
    names = dataset.feature_names[:_MOST_FEATURES]
    figure, axes = _figure(
        title, "Feature ranges (0 and 1: the 5th and 95th percentile)", height=1.6 + 0.36 * len(names)
    )
    X = dataset.X[:, : len(names)]
    low, high = np.quantile(X, 0.05, axis=0), np.quantile(X, 0.95, axis=0)
    scaled = np.where(high > low, np.clip((X - low) / np.where(high > low, high - low, 1.0), -2, 3), 0.5)
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, size=len(X))
    size = 4 if len(X) > 500 else 18
    sides = ((np.flatnonzero(scores >= 0), _QUIET, size), (np.flatnonzero(scores < 0), _FLAG, 2 * size))
    for rows, colour, area in sides:
        shown = _thinned(rows)
        for position in range(len(names)):
            axes.scatter(
                scaled[shown, position], position + jitter[shown], s=area, color=colour, linewidths=0, alpha=0.6
            )
    labels = [f"{name}   {a:.4g} … {b:.4g}" for name, a, b in zip(names, low, high, strict=True)]
    axes.set_yticks(range(len(names)), labels)
    axes.invert_yaxis()
    axes.set_xlim(-2.1, 3.1)
    for edge in (0, 1):
        axes.axvline(edge, color=_INK, linewidth=0.8, linestyle=":")
    cut = (
        "" if len(names) == len(dataset.feature_names) else f" (the first {len(names)} of {len(dataset.feature_names)})"
    )
    axes.set_xlabel(f"value, scaled by each feature's range{cut}")
    return figure


def _figure(title: str, subtitle: str, *, height: float = 4.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(f"{title}\n{subtitle}", loc="left", fontsize=11, color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _thinned(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at most as many rows as a plot can show, evenly taken."""
    return rows[:: max(1, -(-len(rows) // _MOST_POINTS))]


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=110)
    return sink.getvalue()
