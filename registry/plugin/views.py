"""Overviews and plans as what a terminal shows. PURE: what comes out depends on nothing but what goes in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from registry.plugin import marks as m
from registry.plugin.marks import BAD, BUSY, DIM, GOOD, Marks
from registry.plugin.overview import ActionView, ConditionView, Freeze, GateView, Overview, RevisionView, left
from registry.plugin.planning import Plan
from registry.plugin.steps import Step
from registry.plugin.wording import age, short_digest, span

_BAR = 25
_NARROW, _ROOMY = 64, 90
_HINTS = {
    "Paused": "resume {0}   (or promote, abort)",
    "AwaitingApproval": "approve {0}   (or abort)",
    "Rejected": "retry {0}",
    "Baking": "undo {0}",
    "Shadowing": "abort {0}   (or pause)",
    "Progressing": "abort {0}   (or pause)",
}
_ROLE_STYLES = {"stable": GOOD, "candidate": BUSY, "previous": DIM}


def status(seen: Overview, now: datetime, marks: Marks, width: int) -> RenderableType:
    """Return the whole view of one ServedModel."""
    parts: list[RenderableType] = [_head(seen, now, marks)]
    sections: list[tuple[str, RenderableType | None]] = [
        ("Traffic", _traffic(seen, now, marks, width)),
        ("Steps", _steps(seen.steps, now, marks)),
        ("Gates", _gates(seen.gates, now, marks, width)),
        ("Problems", _problems(_news(seen), now, marks)),
        ("Freeze", _freeze(seen.freeze, now)),
        ("Actions", _actions(seen.actions, now, marks, width)),
    ]
    for title, body in sections:
        if body is not None:
            parts += ["", Text(title, style="bold"), Padding(body, (0, 0, 0, 2))]
    if seen.trouble:
        parts += ["", Text(f"{marks.failed} may be out of date: {seen.trouble}", style=BAD)]
    return Group(*parts)


def _head(seen: Overview, now: datetime, marks: Marks) -> RenderableType:
    mark, style = m.of_phase(seen.phase, marks)
    title = Text.assemble((seen.name, "bold"), "  ", (f"{mark} {seen.phase}", style))
    if seen.suspended or seen.plan_only:
        title.append("  (suspended)" if seen.suspended else "  (plan only)", style=BUSY)
    lines = [title]
    if seen.message:
        lines.append(Text(seen.message))
    what = Text(f"{seen.model} {seen.selector} {marks.arrow} {seen.resolved_version or 'nothing resolved'}", style=DIM)
    what.append(f"   namespace {seen.namespace}")
    if seen.created_at is not None:
        what.append(f"   age {age(now - seen.created_at)}")
    if seen.hostnames:
        what.append(f"   {', '.join(seen.hostnames)}")
    lines.append(what)
    hint = _HINTS.get(seen.phase)
    if hint is not None:
        lines.append(Text(f"{marks.arrow} kubectl telltale {hint.format(seen.name)}", style=DIM))
    if not seen.is_up_to_date:
        lines.append(Text(f"{marks.current} the controller has not looked at the newest spec yet", style=BUSY))
    return Group(*lines)


def _news(seen: Overview) -> list[ConditionView]:
    """Return the problems that the message does not tell already."""
    return [problem for problem in seen.problems if problem.message not in seen.message]


def _traffic(seen: Overview, now: datetime, marks: Marks, width: int) -> RenderableType | None:
    if not seen.revisions:
        return None
    grid = _grid(4)
    for revision in seen.revisions:
        style = _ROLE_STYLES[revision.role]
        percent = Text(f"{revision.weight:>3} %", style="bold" if revision.weight else DIM)
        version = Text(revision.version or "?")
        bar = bar_of(revision.weight, _BAR if width >= _NARROW else 8, marks, style)
        grid.add_row(Text(revision.role, style=style), version, bar, percent)
    below = _grid(2)
    for revision in seen.revisions:
        below.add_row(Text(revision.role, style=_ROLE_STYLES[revision.role]), _details(revision, now))
    return Group(grid, "", below)


def _details(revision: RevisionView, now: datetime) -> Text:
    """Return a line about a revision: what it is, and whether its pods are there."""
    text = Text(revision.name)
    pods = revision.pods
    if pods is None:
        text.append("  no pods seen", style=DIM)
    else:
        style = GOOD if pods.ready >= pods.wanted > 0 else BUSY
        text.append(f"  {pods.ready}/{pods.wanted} pods ready", style=style)
    for fact in _facts(revision, now):
        text.append(f"  {fact}", style=DIM)
    if revision.shadow:
        text.append(f"  gets a copy of {revision.shadow} % of the requests", style=BUSY)
    if revision.header:
        text.append(f"  gets requests with {revision.header}", style=BUSY)
    return text


def _facts(revision: RevisionView, now: datetime) -> Iterator[str]:
    if revision.digest:
        yield short_digest(revision.digest)
    if revision.mlflow_version:
        yield f"MLflow {revision.mlflow_version}"
    if revision.created_at is not None:
        yield f"age {age(now - revision.created_at)}"
    warm = left(revision.warm_until, now)
    if warm is not None:
        yield f"kept warm for {span(warm)}"


def bar_of(percent: int, cells: int, marks: Marks, style: str) -> Text:
    """Return a bar; what is not nothing has at least a cell, and what is not everything lacks one."""
    full = round(percent * cells / 100)
    full = min(max(full, 1 if percent > 0 else 0), cells if percent >= 100 else cells - 1)
    return Text.assemble((marks.full * full, style), (marks.empty * (cells - full), DIM))


def _steps(steps: Sequence[Step], now: datetime, marks: Marks) -> RenderableType | None:
    if not steps:
        return None
    grid = _grid(3)
    for number, step in enumerate(steps):
        mark, style = m.of_step(step.state, marks)
        text = Text(step.text, style="bold" if step.state == "current" else style if style == DIM else "")
        ends = left(step.until, now)
        if ends is not None:
            text.append(f"   {span(ends)} left" if step.ends == "over" else f"   given up in {span(ends)}", style=BUSY)
        if step.state == "skipped":
            text.append("   skipped")
        grid.add_row(Text(mark, style=style), Text(str(number), style=DIM), text)
    return grid


def _gates(gates: Sequence[GateView], now: datetime, marks: Marks, width: int) -> RenderableType | None:
    if all(gate.verdict == "unknown" for gate in gates):
        return None
    roomy = width >= _ROOMY
    grid = _grid(4 if roomy else 3)
    words = {"unknown": "not judged yet"}
    for gate in gates:
        mark, style = m.of_verdict(gate.verdict, marks)
        said = Text(gate.message or words.get(gate.verdict, gate.verdict), style=style)
        if gate.since is not None:
            said.append(f"   for {age(now - gate.since)}", style=DIM)
        demands = [Text(_shortened(gate.demands, width // 2, marks))] if roomy else []
        grid.add_row(Text(mark, style=style), Text(gate.name), *demands, said)
    return grid


def _shortened(text: str, most: int, marks: Marks) -> str:
    return text if len(text) <= most else text[: most - len(marks.more)] + marks.more


def _problems(problems: Sequence[ConditionView], now: datetime, marks: Marks) -> RenderableType | None:
    if not problems:
        return None
    grid = _grid(3)
    for problem in problems:
        since = "" if problem.since is None else f" (for {age(now - problem.since)})"
        text = Text.assemble((problem.reason, BAD), f": {problem.message}", (since, DIM))
        grid.add_row(Text(marks.failed, style=BAD), Text(f"{problem.type}={problem.status}"), text)
    return grid


def _freeze(freeze: Freeze | None, now: datetime) -> RenderableType | None:
    if freeze is None:
        return None
    text = Text()
    if freeze.until is not None:
        text.append(f"frozen for {span(freeze.until - now)}, until {freeze.until:%a %Y-%m-%d %H:%M %Z}", style=BUSY)
        text.append("; aborts and undos work")
    elif freeze.next_begins is not None:
        text.append(f"not now; next in {span(freeze.next_begins - now)}, {freeze.next_begins:%a %Y-%m-%d %H:%M %Z}")
    else:
        text.append("no window begins any more")
    return text


def _actions(actions: Sequence[ActionView], now: datetime, marks: Marks, width: int) -> RenderableType | None:
    if not actions:
        return None
    roomy = width >= _ROOMY
    grid = _grid(5 if roomy else 2)
    for action in actions:
        mark, style = m.of_action(action.state, marks)
        said = Text(action.message if action.state != "Pending" else "waits for the controller")
        if action.reason:
            said.append(f" ({action.reason})", style=DIM)
        ago, what = f"{age(now - action.at)} ago", Text(action.action, style="bold")
        if roomy:
            grid.add_row(Text(mark, style=style), Text(ago, style=DIM), Text(action.by), what, said)
        else:
            grid.add_row(Text(mark, style=style), Text.assemble(what, f" by {action.by}, {ago}: ", said))
    return grid


def plan(made: Plan, now: datetime, marks: Marks) -> RenderableType:
    """Return the view of a plan."""
    mark, style = (marks.current, BUSY) if made.would_act else (marks.none, DIM)
    title = Text.assemble((made.name, "bold"), f"  {made.model} {made.selector} {marks.arrow} {made.version or '?'}")
    parts: list[RenderableType] = [title, Text.assemble((f"{mark} ", style), made.verdict)]
    if made.controller_says:
        parts += ["", Text("The controller says", style="bold")]
        parts += [Text(f"  {line}") for line in made.controller_says]
    steps = _steps(made.steps, now, marks)
    if steps is not None:
        parts += ["", Text("Steps", style="bold"), Padding(steps, (0, 0, 0, 2))]
    if any(step.state in ("to come", "current") and step.kind != "bake" for step in made.steps):
        parts += ["", Text(_duration(made))]
    if made.freeze is not None:
        parts += ["", Text("Freeze", style="bold"), Padding(_freeze(made.freeze, now) or "", (0, 0, 0, 2))]
    return Group(*parts)


def _duration(made: Plan) -> str:
    said = f"At least {span(made.minimum_seconds)} until everything goes to it, and the time that pods take"
    if made.baking_seconds:
        said += f"; then {span(made.baking_seconds)} of watching"
    if made.waits_for_people:
        times = "once" if made.waits_for_people == 1 else f"{made.waits_for_people} times"
        said += f"; it waits {times} for a person"
    return f"{said}."


def _grid(columns: int) -> Table:
    """Return a table without lines; its last column wraps."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for place in range(columns):
        last = place == columns - 1
        grid.add_column(no_wrap=not last, overflow="fold" if last else "ellipsis")
    return grid
