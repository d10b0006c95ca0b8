"""`make bench`: run the benchmarks and write every figure to `benchmarks/results.json` and `docs/benchmarks.md`.

A goal that is missed is reported, not an error.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import score_under_training

_HERE = Path(__file__).resolve().parent
_RESULTS = _HERE / "results.json"
_PAGE = _HERE.parent / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Figure:
    """One row of the page: a result's name, what it says, and the most it should be, if there is a goal."""

    name: str
    meaning: str
    goal: float | None = None


_FIGURES = (
    Figure("score_p99_quiet_ms", "p99 of `/score` at 200 requests/s, nothing else, ms"),
    Figure("score_p99_training_ms", "the same while 100,000 x 8 are trained, ms"),
    Figure("score_p99_training_ratio", "the second to the first, median of the rounds' ratios", 2.0),
    Figure("score_p99_with_intake_ratio", "the same from the sending of the batch to its version being served"),
    Figure("score_p99_taking_in_100k_ms", "p99 while the batch of 100,000 is taken in, ms"),
    Figure("training_100k_s", "from the batch's 202 to its version being served, s"),
)


def main() -> None:
    """Run everything and write what came out."""
    results = score_under_training.run()
    _RESULTS.write_text(f"{json.dumps(results, indent=1)}\n")
    _PAGE.write_text(page(results))
    sys.stdout.write(_PAGE.read_text())


def page(results: dict[str, float]) -> str:
    """Return the page for people."""
    rows = [f"| {f.meaning} | {results[f.name]:.2f} | {_verdict(results[f.name], f.goal)} |" for f in _FIGURES]
    table = "\n".join(rows)
    return f"""# Benchmarks

Written by `make bench` on {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.
Medians over rounds in one run; ratios are taken within a round, so that the machine's mood cancels out. The load is on
the same machine.

## Scoring while a model is trained

| figure | median | goal |
|---|---|---|
{table}

200 requests a second are due at fixed times on 16 connections, and a late start counts as latency. Training runs in
a process of its own at the lowest priority; bodies above 256 KiB are read in another.
"""


def _verdict(value: float, goal: float | None) -> str:
    if goal is None:
        return ""
    return f"<= {goal:g}: {'met' if value <= goal else 'missed'}"


if __name__ == "__main__":
    main()
