"""Reads, and shows: once, or again after every change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from registry.api.group import SERVED_MODEL_LABEL
from registry.errors import KubernetesForbidden
from registry.kubernetes.resources import MODEL_REVISIONS, SERVED_MODELS, Manifest
from registry.plugin import acting, tables, views
from registry.plugin.marks import Marks, marks_for
from registry.plugin.options import Access
from registry.plugin.outcome import outcome_of
from registry.plugin.output import printed
from registry.plugin.overview import Freeze, Overview, condition_of, overview
from registry.plugin.planning import plan_of
from registry.plugin.watching import Resources, follow, read

_TICK_SECONDS = 1.0
_WIDEST = 1000
_TIMED_OUT, _INTERRUPTED = 4, 130


def show(found: Access, name: str, output: str | None) -> None:
    """Show one ServedModel."""
    served_model = acting.served_model(found.cluster, found.namespace, name)
    seen = _seen(served_model, read(found.cluster, found.namespace, name))
    if output:
        _print(seen, output)
    else:
        console = _console()
        console.print(views.status(seen, _now(), _marks(console), console.width))


def show_all(found: Access, output: str | None, *, all_namespaces: bool) -> None:
    """List all ServedModels."""
    namespace = None if all_namespaces else found.namespace
    models, _ = found.cluster.list(SERVED_MODELS, namespace)
    try:
        revisions, _ = found.cluster.list(MODEL_REVISIONS, namespace)
    except KubernetesForbidden:
        revisions = []
    seen = [_in_list(one, revisions) for one in models]
    if output:
        _print(seen, output)
    elif seen:
        console = _console()
        table = tables.overviews(seen, _now(), _marks(console), console.width, namespaces=all_namespaces)
        console.print(table)
    else:
        where = "any namespace" if all_namespaces else f'namespace "{found.namespace}"'
        click.echo(f"No ServedModels in {where}.", err=True)


def _in_list(served_model: Manifest, revisions: list[Manifest]) -> Overview:
    namespace = served_model["metadata"]["namespace"]
    own = [one for one in revisions if one["metadata"]["namespace"] == namespace]
    return overview(served_model, Resources().listed(MODEL_REVISIONS, own))


def show_plan(found: Access, name: str, output: str | None) -> None:
    """Show what would happen."""
    served_model = acting.served_model(found.cluster, found.namespace, name)
    made = plan_of(served_model, _freeze(served_model))
    if output:
        _print(made, output)
    else:
        console = _console()
        console.print(views.plan(made, _now(), _marks(console)))


def show_history(found: Access, name: str, output: str | None) -> None:
    """List revisions; they may outlive nothing, so the ServedModel has to be there."""
    acting.served_model(found.cluster, found.namespace, name)
    selector = {"labelSelector": f"{SERVED_MODEL_LABEL}={name}"}
    past = tables.history_of(found.cluster.list(MODEL_REVISIONS, found.namespace, selector)[0])
    if output in ("json", "yaml"):
        _print(past, output)
    elif past:
        wide = output == "wide"
        # As kubectl's: a line is as long as it has to be, whatever the terminal.
        console = _console(_WIDEST if wide else None)
        console.print(tables.history(past, _marks(console), console.width, wide=wide))
    else:
        click.echo(f"{name} has no revisions yet.", err=True)


def watch(found: Access, name: str, until: str | None, timeout: float | None) -> int:
    """Show every change, until it has come out as ``until`` says; return the exit code."""
    served_model = acting.served_model(found.cluster, found.namespace, name)
    console = _console()
    deadline = None if timeout is None or until is None else time.monotonic() + timeout
    try:
        with _display(console) as display:
            for resources in follow(found.cluster, found.namespace, name, _TICK_SECONDS):
                # Where the API server is away from the start, there is only what was read before.
                if resources.knows(SERVED_MODELS):
                    served_model = _still_there(resources, name)
                display.update(_seen(served_model, resources))
                code = outcome_of(served_model, until)
                if code is not None:
                    _say_why(served_model, code)
                    return code
                if deadline is not None and time.monotonic() >= deadline:
                    return _out_of_time(served_model, timeout)
    except KeyboardInterrupt:
        return 0 if until is None else _INTERRUPTED
    raise AssertionError("watches never end by themselves")


def _still_there(resources: Resources, name: str) -> Manifest:
    if resources.served_model is None:
        raise click.ClickException(f"{name} was deleted.")
    return resources.served_model


def _say_why(served_model: Manifest, code: int) -> None:
    """Say what stands in the way, where a phase does not tell: a version that is not there leaves it Healthy."""
    stalled = condition_of(served_model, "Stalled")
    if code and stalled.get("status") == "True":
        click.echo(f"Error: {stalled.get('message', '')}", err=True)


def _out_of_time(served_model: Manifest, timeout: float | None) -> int:
    status = served_model.get("status") or {}
    click.echo(f"Error: after {timeout:g} s it is {status.get('phase')}: {status.get('message', '')}", err=True)
    return _TIMED_OUT


@dataclass
class _Drawing:
    """A view that is drawn over itself."""

    console: Console
    live: Live

    def update(self, seen: Overview) -> None:
        """Draw it."""
        self.live.update(views.status(seen, _now(), _marks(self.console), self.console.width), refresh=True)


@dataclass
class _Lines:
    """A line for each change, where nothing can be drawn over: a log, a pipe."""

    last: str = ""

    def update(self, seen: Overview) -> None:
        """Write a line, if it says something new."""
        shares = " ".join(
            f"{one.role} {one.version or one.name} {one.weight} %" for one in seen.revisions if one.weight
        )
        line = f"{seen.phase}  {shares or 'no traffic'}  {seen.message}"
        line += f"  ({seen.trouble})" if seen.trouble else ""
        if line != self.last:
            click.echo(f"{_now():%H:%M:%S}  {line}")
            self.last = line


@contextmanager
def _display(console: Console) -> Iterator[_Drawing | _Lines]:
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Lines()
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        yield _Drawing(console, live)


def _seen(served_model: Manifest, resources: Resources) -> Overview:
    return overview(served_model, resources, _freeze(served_model))


def _freeze(served_model: Manifest) -> Freeze | None:
    windows = served_model["spec"].get("freezeWindows")
    if not windows:
        return None
    from registry.plugin.freezing import freeze  # noqa: PLC0415 - its models are slow to load, and few have windows

    return freeze(windows, _now())


def _console(width: int | None = None) -> Console:
    return Console(highlight=False, markup=False, emoji=False, width=width)


def _marks(console: Console) -> Marks:
    return marks_for(console.encoding)


def _print(value: Any, output: str) -> None:
    click.echo(printed(value, "yaml" if output == "yaml" else "json"))


def _now() -> datetime:
    return datetime.now(UTC)
