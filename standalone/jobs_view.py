"""Training jobs as text: a table for a terminal, lines with tabs for other programs, and JSON. PURE."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Literal

from rich.markup import escape
from rich.table import Table

from store.jobs import Job

# Enough of an id to tell jobs apart; commands take any beginning that is unique.
SHORT = 8
_COLUMNS = ("job", "model", "version", "state", "records", "age", "attempts", "worker", "reason")
_NUMBERS = ("records", "age", "attempts")
_LONGEST = 36
_ONLY_WHERE_WIDE = ("records", "worker")
_WIDE = 110
_STYLES = {"failed": "red", "training": "cyan"}


def table(jobs: Sequence[Job], now: datetime, *, width: int) -> Table:
    """Return the jobs as a table, one line each; what does not fit into ``width`` is left out or shortened."""
    names = [name for name in _COLUMNS if width >= _WIDE or name not in _ONLY_WHERE_WIDE]
    rows = [[_shown(name, cells) for name in names] for cells in (_cells(job, now) for job in jobs)]
    longest = _LONGEST if width >= _WIDE else _LONGEST // 2
    widths = [max([len(name), *(len(row[place]) for row in rows)]) for place, name in enumerate(names)]
    widths = [min(widest, longest) for widest in widths[:-1]]
    widths.append(max(len(names[-1]), width - sum(widths) - len(widths)))
    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name, widest in zip(names, widths, strict=True):
        side: Literal["left", "right"] = "right" if name in _NUMBERS else "left"
        grid.add_column(name, justify=side, no_wrap=True, overflow="ellipsis", width=widest)
    for job, row in zip(jobs, rows, strict=True):
        grid.add_row(*map(escape, row), style=_STYLES.get(job.state))
    return grid


def _shown(name: str, cells: Sequence[str]) -> str:
    text = cells[_COLUMNS.index(name)]
    return text[:SHORT] if name == "job" else text


def lines(jobs: Sequence[Job], now: datetime) -> list[str]:
    """Return a line of names and one for each job, with tabs between; the age is in seconds."""
    return ["\t".join(_COLUMNS), *("\t".join(_cells(job, now, seconds=True)) for job in jobs)]


def as_json(jobs: Sequence[Job]) -> str:
    """Return the jobs as a JSON array."""
    return json.dumps([_document(job) for job in jobs], indent=1)


def one_as_json(job: Job) -> str:
    """Return a job as a JSON object."""
    return json.dumps(_document(job), indent=1)


def details(job: Job, now: datetime) -> list[str]:
    """Return all that is known of a job, a line for each thing."""
    known: list[tuple[str, str | None]] = [
        ("job", job.id),
        ("model", job.model),
        ("version", job.version),
        ("state", job.state),
        ("records", str(job.record_count)),
        ("received", _time(job.received_at, now)),
        ("attempts", f"{job.attempts} ({job.faults} failed, {job.losses} ended with their worker)"),
        ("worker", job.worker),
        ("last begun", _time(job.started_at, now)),
        ("next attempt", _time(job.next_attempt_at, now) if job.state == "queued" else None),
        ("ended", _time(job.finished_at, now)),
        ("reason", job.reason),
    ]
    return [f"{name:<13}{text}" for name, text in known if text is not None]


def named(job: Job) -> str:
    """Return what to call a job in a sentence."""
    return f"job {job.id[:SHORT]} ({job.model} {job.version})"


def ago(span: timedelta) -> str:
    """Return a span in its largest whole unit: 40 s, 3 min, 5 h, 2 d."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _cells(job: Job, now: datetime, *, seconds: bool = False) -> list[str]:
    age = now - job.received_at
    return [
        job.id,
        job.model,
        job.version,
        job.state,
        str(job.record_count),
        str(int(age.total_seconds())) if seconds else ago(age),
        str(job.attempts),
        job.worker or "-",
        " ".join((job.reason or "-").split()),
    ]


def _time(moment: datetime | None, now: datetime) -> str | None:
    if moment is None:
        return None
    when = f"in {ago(moment - now)}" if moment > now else f"{ago(now - moment)} ago"
    return f"{moment.astimezone(now.tzinfo).isoformat(timespec='seconds')} ({when})"


def _document(job: Job) -> dict[str, Any]:
    """Return a job by the names that `GET /ingest/{job}` has for it."""
    document = asdict(job)
    document = {"job": document.pop("id"), "model": document.pop("model"), "model_version": document.pop("version")} | (
        document
    )
    return {
        name: value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
        for name, value in document.items()
    }
