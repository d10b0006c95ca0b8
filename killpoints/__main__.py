"""`make killpoints`: kills the controller before and after each of its writes, and compares what that leaves.

It needs a cluster with KServe and the Gateway API's kinds in KUBECONFIG, and works in namespaces of its own. Every
transition of a rollout is played once undisturbed, which tells its writes; then once for each of them with a controller
that dies just before it, and once with one that dies just after it. Another controller then does the rest.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from killpoints.campaign import Outcome, play, playing_field, points, record, sample, some
from killpoints.errors import HarnessError
from killpoints.point import Point
from killpoints.scenarios import SCENARIOS

_POINTS, _BY_SIGNAL = 300, 20
# How often a log that shows no bar says how far it is.
_EVERY = 50


def main(arguments: list[str]) -> int:
    """Run and print the count; returns the exit code."""
    chosen = parse(arguments)
    console = Console()
    if not os.environ.get("KUBECONFIG"):
        console.print("error: set KUBECONFIG to a cluster with KServe and the Gateway API's kinds", style="bold red")
        return 2
    # What the controllers log of their crashes is no news here.
    logging.getLogger("registry").addHandler(logging.NullHandler())
    console.print(f"seed {chosen.seed}")
    try:
        outcome = _run(chosen, console)
    except HarnessError as error:
        console.print(f"error: {error}", markup=False, highlight=False, style="bold red")
        return 2
    print(f"{outcome.points} points, {len(outcome.wrong)} wrong final states")
    return 1 if outcome.wrong or not outcome.points else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return what is to be played."""
    parser = argparse.ArgumentParser(prog="make killpoints", description=__doc__)
    number = parser.add_mutually_exclusive_group()
    number.add_argument(
        "--points", type=int, help=f"play so many, chosen by the seed (default {_POINTS}; with --only every one)"
    )
    number.add_argument("--all", action="store_true", help="play every one: more than an hour on two cores")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the choice; printed")
    parser.add_argument("--only", action="append", choices=[one.name for one in SCENARIOS], metavar="SCENARIO")
    parser.add_argument(
        "--kills", type=int, help=f"how many of them by SIGKILL of a process (default {_BY_SIGNAL}, or a tenth)"
    )
    parser.add_argument("--parallel", type=int, default=4, help="points that are played at once (default 4)")
    chosen = parser.parse_args(arguments)
    if chosen.points is None and not chosen.all and not chosen.only:
        chosen.points = _POINTS
    return chosen


def _run(options: argparse.Namespace, console: Console) -> Outcome:
    named = [one for one in SCENARIOS if not options.only or one.name in options.only]
    scenarios = some(named, options.points, options.seed)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with playing_field(options.parallel) as where, Progress(*columns, console=console) as progress:
        task = progress.add_task("undisturbed", total=len(scenarios))

        def recorded(line: str, ended: int) -> None:
            progress.advance(task, ended)
            progress.console.print(f"  {line}", markup=False, highlight=False)

        baselines = record(where, scenarios, recorded)
        every = points(scenarios, baselines)
        count = len(every) if options.points is None else min(options.points, len(every))
        kills = options.kills if options.kills is not None else min(_BY_SIGNAL, -(-count // 10))
        progress.console.print(f"  {len(every)} points; {count} are played, {kills} of them by SIGKILL")
        kill_task = progress.add_task("kills", total=count)
        chosen = sample(every, options.points, kills, options.seed)

        def played(point: Point, wrong: list[str]) -> None:
            progress.advance(kill_task)
            done = progress.tasks[kill_task].completed
            if not console.is_terminal and done % _EVERY == 0:
                console.print(f"  {done:.0f} of {count}")
            lines = (f"  {point}", *(f"    {line}" for line in wrong)) if wrong else ()
            progress.console.print(*lines, sep="\n", end="\n" if lines else "", markup=False, highlight=False)

        return play(where, chosen, baselines, played)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
