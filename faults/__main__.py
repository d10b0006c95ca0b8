"""`make faults`: disturbs the controller by all that can go wrong around it, and counts what does not hold.

Most schedules are simulated: the controller's code on an API server in a dictionary, with a clock of its own; half of
them are scenarios that must end as they end without faults, half are storms of everything at any time. The others run
the whole controller on the cluster of KUBECONFIG, behind a proxy that breaks requests and watches.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from faults import campaign, real_campaign
from faults.campaign import Outcome
from killpoints.errors import HarnessError

_SCHEDULES, _REAL = 10_000, 200


def main(arguments: list[str]) -> int:
    """Run and print the count; returns the exit code."""
    options = _options(arguments)
    console = Console()
    # What they would say on standard error: asyncio of a callback of kopf's that fails when it is stopped, for one.
    for name in ("registry", "kopf", "aiohttp", "asyncio"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    if options.replay is not None:
        return _tell(console, _replayed(options.replay))
    if options.real and not os.environ.get("KUBECONFIG"):
        console.print("error: set KUBECONFIG to a cluster with KServe and the Gateway API's kinds, or give --real 0")
        return 2
    console.print(f"seed {options.seed}")
    try:
        return _tell(console, *_run(options, console))
    except HarnessError as error:
        console.print(f"error: {error}", markup=False, highlight=False, style="bold red")
        return 2


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--schedules", type=int, default=_SCHEDULES, help=f"simulated ones (default {_SCHEDULES})")
    parser.add_argument("--real", type=int, default=_REAL, help=f"on a real API server (default {_REAL})")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of everything; printed")
    parser.add_argument("--parallel", type=int, default=4, help="real ones that are played at once (default 4)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="play this one simulated schedule again")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, console: Console) -> list[Outcome]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    first = options.seed * 1_000_000
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("simulated", total=options.schedules)
        seeds = range(first, first + options.schedules)
        outcomes = [campaign.simulate(seeds, lambda: progress.advance(task))]
        if options.real:
            real_task = progress.add_task("real", total=options.real)

            def report(line: str) -> None:
                progress.console.print(f"  {line}", markup=False) if line else progress.advance(real_task)

            outcomes.append(real_campaign.play(options.seed, options.real, options.parallel, report))
    return outcomes


def _replayed(seed: int) -> Outcome:
    outcome = Outcome()
    outcome.add(f"--replay {seed}", campaign.play(seed))
    return outcome


def _tell(console: Console, *outcomes: Outcome) -> int:
    for outcome in outcomes:
        for schedule, wrong in outcome.broken.items():
            lines = (f"  {schedule}", *(f"    {line}" for line in wrong))
            console.print(*lines, sep="\n", markup=False, highlight=False)
    schedules = sum(outcome.schedules for outcome in outcomes)
    broken = sum(len(outcome.broken) for outcome in outcomes)
    print(f"{schedules} schedules, {broken} broken invariants")
    return 1 if broken or not schedules else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
