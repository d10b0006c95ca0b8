"""`telltale simulate`: a plausible fleet driven against a running server, and how well its faults were found.

The fleet's past trains a model in batches, as it would arrive; what follows, with faults whose labels only this command
knows, is scored. It reaches the server by HTTP alone, like any other client.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from contract.names import MODEL_NAME_RULE, is_model_name
from standalone.client import DEFAULT_URL, SCORE_RECORDS, Client, ClientError, Ingested, chunked
from standalone.fleet import FAULTS, VEHICLE_TYPES, FaultSpan, Telemetry, faults_of_training, generate

_STEPS_AN_HOUR = 60
_MINUTE = timedelta(minutes=1)
# What fits into memory as Python records.
_MOST_RECORDS = 2_000_000

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Plan:
    """What to simulate.

    Args:
        model: the model to train.
        vehicles: size of the fleet; each sends a record a minute.
        hours: the time that trains the model.
        score_hours: the time after it, which is scored.
        batches: how many requests the training time is sent in.
        faulty: vehicles that get a fault in the scored time.
        seed: the same seed makes the same fleet.
        end: time of the last record, with a zone.

    """

    model: str
    vehicles: int
    hours: float
    score_hours: float
    batches: int
    faulty: int
    seed: int
    end: datetime


@dataclass(frozen=True)
class Outcome:
    """What the server made of the scored records.

    Args:
        scored: the records' telemetry.
        flagged: whether each was flagged, shape ``(steps, vehicles)``.
        version: the model version that scored.
        trained: records that trained it.
        training_s: time that ingesting and training took.
        scoring_s: time that scoring took.

    """

    scored: Telemetry
    flagged: Mask
    version: str
    trained: int
    training_s: float
    scoring_s: float


def fleet_of(plan: Plan) -> tuple[Telemetry, Telemetry]:
    """Return the telemetry that trains and the one that is scored after it."""
    training = max(1, round(plan.hours * _STEPS_AN_HOUR))
    steps = training + max(1, round(plan.score_hours * _STEPS_AN_HOUR))
    spans = (*faults_of_training(training, plan.vehicles), FaultSpan(training, steps, plan.faulty))
    start = plan.end.replace(microsecond=0) - _MINUTE * (steps - 1)
    fleet = generate(start=start, steps=steps, vehicles=plan.vehicles, seed=plan.seed, interval=_MINUTE, spans=spans)
    return fleet.steps(0, training), fleet.steps(training, steps)


def simulate(plan: Plan, client: Client, console: Console) -> Outcome:
    """Train and score as ``plan`` says, showing progress on ``console``.

    Raises:
        ClientError: the server cannot be reached or refuses.

    """
    past, present = fleet_of(plan)
    began = time.perf_counter()
    with _progress(console) as progress:
        last = _train(past, plan, client, progress)
        trained_at = time.perf_counter()
        flags = _score(present, last, client, progress)
    done = time.perf_counter()
    flagged = np.array(flags, dtype=np.bool_).reshape(present.faults.shape)
    return Outcome(present, flagged, last.model_version, len(past), trained_at - began, done - trained_at)


def _train(past: Telemetry, plan: Plan, client: Client, progress: Progress) -> Ingested:
    """Ingest the batches one after another; return what became of the last one."""
    task = progress.add_task("training", total=len(past))
    for number, batch in enumerate(_batches(past, plan.batches), start=1):
        for part in chunked(batch):
            result = client.ingest(part, model=plan.model)
            progress.advance(task, len(part))
            line = f"batch {number}: {len(part):,} records trained {plan.model} {result.model_version}"
            remarks = [f"not served by default: {result.reason}"] * bool(result.reason)
            for text in (line, *(f"  {remark}" for remark in (*remarks, *result.warnings))):
                progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
    return result


def _batches(past: Telemetry, count: int) -> Iterator[list[dict[str, Any]]]:
    """Cut the telemetry by time into ``count`` batches, or fewer if there are fewer steps."""
    steps = len(past.times)
    bounds = np.linspace(0, steps, min(count, steps) + 1).round().astype(int).tolist()
    for first, last in pairwise(bounds):
        yield past.steps(first, last).records()


def _score(present: Telemetry, trained: Ingested, client: Client, progress: Progress) -> list[bool]:
    """Score with exactly the version just trained, whatever the server's default is."""
    task = progress.add_task("scoring", total=len(present))
    flags: list[bool] = []
    at_once = max(1, SCORE_RECORDS // len(present.vehicles))
    for first in range(0, len(present.times), at_once):
        records = present.steps(first, first + at_once).records()
        answers = client.score(records, model=trained.model, model_version=trained.model_version)
        flags += [answer["is_anomaly"] is True for answer in answers]
        progress.advance(task, len(records))
    return flags


def _progress(console: Console) -> Progress:
    """Return a progress display: bars on a terminal; elsewhere the printed lines are all there is."""
    columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def summary(outcome: Outcome) -> Table:
    """Return the table of what was found: a row for each fault and vehicle type, then the healthy records."""
    table = Table(title="Faults found", title_justify="left")
    table.add_column("fault")
    table.add_column("vehicle type")
    for name in ("records", "flagged", "share", "first flag"):
        table.add_column(name, justify="right")
    types = np.array([vehicle.kind.name for vehicle in outcome.scored.vehicles])
    for code, fault in enumerate(FAULTS, start=1):
        labelled = outcome.scored.faults == code
        for kind in [kind.name for kind in VEHICLE_TYPES]:
            acts = labelled & (types == kind)
            if acts.any():
                table.add_row(fault, kind, *_counts(outcome.flagged, acts), _first_flag(outcome, acts))
    table.add_section()
    for kind in [kind.name for kind in VEHICLE_TYPES]:
        healthy = (outcome.scored.faults == 0) & (types == kind)
        if healthy.any():
            table.add_row("healthy", kind, *_counts(outcome.flagged, healthy), "")
    return table


def _counts(flagged: Mask, among: Mask) -> tuple[str, str, str]:
    records, found = int(among.sum()), int((flagged & among).sum())
    return f"{records:,}", f"{found:,}", f"{found / records:.1%}"


def _first_flag(outcome: Outcome, acts: Mask) -> str:
    """Return the time from a fault's onset to its first flag: the median over the vehicles that were flagged."""
    times = outcome.scored.times
    waits = []
    for column in np.flatnonzero(acts.any(axis=0)):
        steps = np.flatnonzero(acts[:, column])
        flags = np.flatnonzero(acts[:, column] & outcome.flagged[:, column])
        if len(flags):
            waits.append((times[flags[0]] - times[steps[0]]) / _MINUTE)
    if not waits:
        return "never"
    missed = int(acts.any(axis=0).sum()) - len(waits)
    return f"{np.median(waits):.0f} min" + (f", {missed} never" if missed else "")


def closing_lines(outcome: Outcome, model: str) -> Sequence[str]:
    """Return the sentences under the table."""
    faulty, healthy = outcome.scored.faults > 0, outcome.scored.faults == 0
    lines = [f"model {model}, version {outcome.version}, trained on {outcome.trained:,} records by this run"]
    if faulty.any():
        lines.append(f"flagged {outcome.flagged[faulty].mean():.1%} of the records with a fault")
    if healthy.any():
        lines.append(f"flagged {outcome.flagged[healthy].mean():.1%} of the healthy records")
    lines.append(
        f"ingest and training {outcome.trained / max(outcome.training_s, 1e-9):,.0f} records/s "
        f"({outcome.training_s:.1f} s), "
        f"scoring {len(outcome.scored) / max(outcome.scoring_s, 1e-9):,.0f} records/s ({outcome.scoring_s:.1f} s)"
    )
    return lines


def _model_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    del ctx, param
    if not is_model_name(value):
        raise click.BadParameter(f"{MODEL_NAME_RULE}; got {value!r}")
    return value


@click.command(name="simulate")
@click.option("--url", default=DEFAULT_URL, envvar="TELLTALE_URL", show_default=True, show_envvar=True, help="Server.")
@click.option("--token", envvar="TELLTALE_TOKEN", show_envvar=True, help="Bearer token, where the server wants one.")
@click.option("--vehicles", type=click.IntRange(1, 10_000), default=24, show_default=True, help="Size of the fleet.")
@click.option(
    "--hours", type=click.FloatRange(0.1, 8784), default=24.0, show_default=True, help="Time that trains the model."
)
@click.option(
    "--score-hours", type=click.FloatRange(0.1, 8784), default=6.0, show_default=True, help="Time scored after it."
)
@click.option(
    "--batches",
    type=click.IntRange(1, 1000),
    default=4,
    show_default=True,
    help="Requests that the training is sent in.",
)
@click.option(
    "--faults",
    type=click.IntRange(0),
    help="Vehicles that get a fault in the scored time; 0 for none.  [default: a third of the fleet]",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed, the same fleet.")
@click.option("--model", default="simulated-fleet", show_default=True, callback=_model_name, help="Model to train.")
def simulate_command(
    *,
    url: str,
    token: str | None,
    vehicles: int,
    hours: float,
    score_hours: float,
    batches: int,
    faults: int | None,
    seed: int,
    model: str,
) -> None:
    """Drive a running Telltale with a plausible fleet.

    Vans, trucks, buses and electric cars send a record a minute. Their past trains a model in batches; what follows is
    scored, with faults (overheating, voltage sag, tyre leak, stuck sensor) whose labels the server never sees. A table
    shows what was found. Start the server first: telltale serve
    """
    if faults is not None and faults > vehicles:
        raise click.BadParameter(f"{faults} faults need as many vehicles; there are {vehicles}", param_hint="--faults")
    if vehicles * (hours + score_hours) * _STEPS_AN_HOUR > _MOST_RECORDS:
        raise click.UsageError(f"that makes more than {_MOST_RECORDS:,} records: take fewer vehicles or hours")
    faulty = max(1, vehicles // 3) if faults is None else faults
    plan = Plan(model, vehicles, hours, score_hours, batches, faulty, seed, datetime.now(UTC))
    console = Console()
    try:
        with Client(url, token=token) as client:
            outcome = simulate(plan, client, console)
    except ClientError as error:
        raise click.ClickException(str(error)) from error
    console.print(summary(outcome))
    for line in closing_lines(outcome, model):
        console.print(line, highlight=False, soft_wrap=True)
