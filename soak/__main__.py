"""`make soak`: one long run; exits 1 if memory grows, an answer was wrong, or the log holds what it must not."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fuzz.predictor_process import database, passable_folder
from soak.errors import SoakError
from soak.outcome import Outcome, failures
from soak.report import show, write
from soak.run import run

_REQUESTS = 10_000_000
_FOLDER = Path("build/soak")


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = _options(arguments)
    console = Console()
    with passable_folder("soak-") as folder, database(folder) as database_url:
        try:
            outcome = _run(options.requests, database_url, console)
        except SoakError as error:
            console.print(f"error: {error}", markup=False, highlight=False, style="bold red")
            return 1
    show(outcome, console)
    for path in write(outcome, _FOLDER):
        console.print(f"wrote {path}")
    return 1 if failures(outcome) else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    requests = int(os.environ.get("SOAK_REQUESTS", _REQUESTS))
    text = f"how many, SOAK_REQUESTS by default; a whole run has {_REQUESTS:,}, and fewer than 1,000 show nothing"
    parser.add_argument("--requests", type=int, default=requests, metavar="N", help=text)
    return parser.parse_args(arguments)


def _run(requests: int, database_url: str, console: Console) -> Outcome:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("warming up", total=requests, rate="")

        def note(done: int, rss: int) -> None:
            seconds = progress.tasks[bar].finished_time or progress.tasks[bar].elapsed or 0.0
            if done <= requests // 400:
                progress.reset(bar, description="soaking")
            rate = f"{done / seconds:,.0f}/s " if seconds else ""
            progress.update(bar, completed=done, rate=f"{rate}{rss / 1e6:,.0f} MB")

        return run(requests, database_url, progress=note)


if __name__ == "__main__":
    raise SystemExit(main())
