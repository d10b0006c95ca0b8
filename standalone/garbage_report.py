"""What `telltale gc` tells: progress on standard error, what goes and went on standard output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.retention.collecting import Outcome
    from trainer.retention.plan import Item, Plan

_SHOWN = 1_000


@dataclass
class Report:
    """Tells a person, or as JSON a program.

    Args:
        console: standard error.
        as_json: whether one JSON document goes to standard output, in place of lines.
        dry_run: whether nothing is removed.

    """

    console: Console
    as_json: bool
    dry_run: bool
    _failed: str | None = field(default=None, init=False)

    def say(self, line: str) -> None:
        """Tell a person something on the way."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def looking(self) -> Iterator[Callable[[str], None]]:
        """Show that it is being looked; yields what takes how far that is."""
        with self.console.status("looking", spinner="line") as status:
            yield lambda where: status.update(f"looking at {where}")

    def found(self, plan: Plan) -> None:
        """Tell what was left out, and in a dry run what would go."""
        for note in plan.notes:
            self.say(f"note: {note}")
        if self.dry_run and not self.as_json:
            for line in _table(plan.items):
                click.echo(line)

    def removed(self, plan: Plan, outcomes: Iterable[Outcome]) -> bool:
        """Tell what goes while it goes, and the totals; return whether every store did what it was asked."""
        done: list[Outcome] = []
        with self._bar(len(plan.items)) as advance:
            for outcome in outcomes:
                done.append(outcome)
                advance()
                if not self.as_json:
                    click.echo(_line(outcome))
        if self.as_json:
            click.echo(json.dumps(document(plan, done, dry_run=self.dry_run), indent=1))
        else:
            gone = plan.items if self.dry_run else [one.item for one in done if one.kept is None]
            for line in _totals(gone, "would go" if self.dry_run else "removed"):
                click.echo(line)
        return plan.complete and not any(one.failed for one in done)

    @contextmanager
    def _bar(self, count: int) -> Iterator[Callable[[], None]]:
        columns = (TextColumn("removing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        quiet = self.dry_run or not self.console.is_terminal
        with Progress(*columns, console=self.console, disable=quiet, transient=True) as progress:
            task = progress.add_task("removing", total=count)
            yield lambda: progress.advance(task)


def document(plan: Plan, outcomes: list[Outcome], *, dry_run: bool) -> dict[str, Any]:
    """Return what was found and done, for programs."""
    became = {id(one.item): one for one in outcomes}
    items = []
    for item in plan.items:
        told = {"kind": item.kind, "model": item.model, "id": item.id, "bytes": item.size, "why": item.why}
        outcome = became.get(id(item))
        if outcome is not None:
            told |= {"removed": outcome.kept is None} | ({} if outcome.kept is None else {"kept": outcome.kept})
        items.append(told)
    totals = {kind: {"count": total.count, "bytes": total.size} for kind, total in plan.totals().items()}
    return {
        "now": plan.now.isoformat(),
        "dry_run": dry_run,
        "complete": plan.complete,
        "items": items,
        "totals": totals,
        "notes": plan.notes,
    }


def _table(items: list[Item]) -> Iterator[str]:
    if not items:
        return
    rows = [("KIND", "MODEL", "ID", "BYTES", "WHY")]
    rows += [(item.kind, item.model or "-", item.id, _bytes(item.size), item.why) for item in items[:_SHOWN]]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for kind, model, name, size, why in rows:
        start = f"{kind:{widths[0]}}  {model:{widths[1]}}  {name:{widths[2]}}"
        yield f"{start}  {size:>{widths[3]}}  {why}"
    if len(items) > _SHOWN:
        yield f"and {len(items) - _SHOWN:,} more; -o json names them all"


def _line(outcome: Outcome) -> str:
    item = outcome.item
    what = f"{item.kind} {item.id}" + (f" of {item.model}" if item.model else "")
    if outcome.kept is not None:
        return f"kept {what}: {outcome.kept}"
    return f"removed {what} ({_bytes(item.size)}): {item.why}"


def _totals(items: list[Item], what: str) -> Iterator[str]:
    from trainer.retention.plan import totals  # noqa: PLC0415 - so that --help answers at once

    if not items:
        yield f"nothing {what}" if what == "removed" else "nothing would go"
        return
    for kind, total in totals(items).items():
        yield f"{what}: {total.count:,} x {kind}, {_bytes(total.size)}"
    yield f"{what}: {len(items):,} in all, {_bytes(sum(item.size for item in items))}"


def _bytes(size: int) -> str:
    return decimal(size) if size else "-"
