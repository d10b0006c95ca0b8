"""What a person sees of a run: how far it is, a table at the end, and where the findings are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fuzz.tally import SERVERS_FAULTS, Finding, Tally

_LINE_SECONDS = 15.0
_LONGEST_DETAIL = 1500


class Report:
    """Writes to a console.

    Args:
        console: where to.
        clock: seconds that never go back.

    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._said_at = clock()

    def say(self, line: str) -> None:
        """Write a line."""
        self._said_at = self._clock()
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def progress(self, tally: Tally) -> None:
        """Show how far a target is, now and then."""
        if self._clock() - self._said_at >= _LINE_SECONDS:
            self.say(f"  {_line(tally)}")

    def ended(self, tally: Tally) -> None:
        """Show what came of a target."""
        self.say(f"  {_line(tally)}")
        for finding in tally.findings.values():
            self.say(f"    FAULT: {finding.kind}")

    def end(self, tallies: Sequence[Tally], kept: Sequence[tuple[Finding, Path]]) -> None:
        """Show the table, and every finding."""
        self._console.print(_table(tallies))
        for finding, path in kept:
            self.say(f"\n{finding.target}: {finding.kind}\n{finding.detail[:_LONGEST_DETAIL]}\nkept in {path}")


def verdict(tallies: Sequence[Tally]) -> str:
    """Return what a run came to, in one line."""
    inputs = sum(tally.executions for tally in tallies)
    faults = sum(tally.server_errors for tally in tallies)
    crashes, hangs = sum(tally.crashes for tally in tallies), sum(tally.hangs for tally in tallies)
    findings = sum(len(tally.findings) for tally in tallies)
    return f"{inputs:,} inputs: {faults:,} answers of 5xx, {crashes:,} crashes, {hangs:,} hangs, {findings:,} findings"


def _line(tally: Tally) -> str:
    return f"{tally.target}: {tally.seconds:.0f} s, {tally.executions:,} inputs; {', '.join(_answers(tally))}"


def _answers(tally: Tally) -> Iterator[str]:
    """Yield the classes of answers, most frequent first; the server's faults always stand in front."""
    classes = sorted(tally.answers.items(), key=lambda entry: (entry[0] not in SERVERS_FAULTS, -entry[1]))
    yield from (f"{name} {count:,}" for name, count in classes if count)


def _table(tallies: Sequence[Tally]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("target", no_wrap=True)
    for name in ("inputs", "s", "5xx", "crashes", "hangs", "findings"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("answers")
    for tally in tallies:
        counts = (tally.executions, round(tally.seconds), tally.server_errors, tally.crashes, tally.hangs)
        answers = ", ".join([*_answers(tally), *filter(None, [tally.note])])
        table.add_row(tally.target, *(f"{count:,}" for count in (*counts, len(tally.findings))), answers)
    return table
