"""What a run is told as: a table for a person, JSON for programs, and a picture of memory over requests."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from soak.outcome import RATIO_GOAL, Outcome, failures

_LINE, _QUARTER, _GOAL = "#1f5fa8", "#c9cdd3", "#c0392b"
_MB = 1e6


def show(outcome: Outcome, console: Console) -> None:
    """Print how many requests of each kind were sent, and what the run came to."""
    table = Table("kind", "requests", title=f"{outcome.requests:,} requests in {outcome.seconds:,.0f} s")
    table.columns[1].justify = "right"
    for kind, count in sorted(outcome.by_kind.items(), key=lambda item: -item[1]):
        table.add_row(kind, f"{count:,}")
    console.print(table)
    console.print(f"requests/s             {outcome.requests / outcome.seconds:,.0f}")
    if outcome.samples:
        first, last = outcome.samples[0], outcome.samples[-1]
        console.print(f"memory                 {first.rss / _MB:,.1f} MB to {last.rss / _MB:,.1f} MB")
    console.print(f"last quarter / second  {outcome.ratio:.4f} (goal {RATIO_GOAL}, {len(outcome.samples)} samples)")
    console.print(f"descriptors, threads   {_pair(outcome)}")
    console.print(f"log lines              {outcome.log_lines:,}")
    console.print(
        f"over quota             {outcome.greed.refused:,} of {outcome.greed.passed + outcome.greed.refused:,}"
    )
    for example in outcome.log_examples:
        console.print(f"log: {example}", markup=False, highlight=False, style="yellow")
    for failure in failures(outcome):
        console.print(failure, markup=False, highlight=False, style="bold red")


def write(outcome: Outcome, folder: Path) -> tuple[Path, Path]:
    """Write `soak.json` and `rss.png` into ``folder``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    # Not dataclasses.asdict, which makes nonsense of counters.
    fields = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    document = fields | {"ratio": outcome.ratio, "failures": failures(outcome)}
    result = folder / "soak.json"
    result.write_text(json.dumps(document, indent=1, default=vars))
    return result, _draw(outcome, folder / "rss.png")


def _draw(outcome: Outcome, to: Path) -> Path:
    # Imported late: it takes a second.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    requests = [sample.requests for sample in outcome.samples]
    end = max(requests, default=0)
    for start in (0.25, 0.75):
        axes.axvspan(start * end, (start + 0.25) * end, color=_QUARTER, alpha=0.4, linewidth=0)
    axes.plot(requests, [sample.rss / _MB for sample in outcome.samples], color=_LINE, label="resident")
    axes.plot(requests, [s.anonymous / _MB for s in outcome.samples], color=_LINE, alpha=0.5, label="of it anonymous")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("requests")
    axes.set_ylabel("MB")
    axes.set_title(f"The predictor's memory; the last quarter has {outcome.ratio:.3f} of the second")
    axes.legend()
    figure.savefig(to, dpi=110, metadata={"Software": None})
    return to


def _pair(outcome: Outcome) -> str:
    before, after = outcome.before, outcome.after
    return f"{before.descriptors}, {before.threads} before; {after.descriptors}, {after.threads} after"
