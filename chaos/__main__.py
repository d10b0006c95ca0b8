"""`make chaos`: kills trainer, MLflow, PostgreSQL and S3 during trainings, and counts what was lost.

The predictor, the trainer, the controller and MLflow's server run as processes, on a real PostgreSQL and a real S3
server. In each round a batch is in training when one of them gets SIGKILL; another batch arrives during the outage. All
the while a client asks for scores. In the end the garbage collector runs, and what is left is compared with what the
clients were told.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chaos import campaign
from chaos.aftermath import Found, examine
from chaos.campaign import Outcome
from chaos.clients import Ledger
from chaos.garbage import collect
from chaos.shape import Shape, running

_EACH = 20


def main(arguments: list[str]) -> int:
    """Run and print the count; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument(
        "--each", type=int, default=_EACH, help="trainings during which each part is killed (default 20)"
    )
    parser.add_argument("--only", action="append", help="a part that is killed; give it several times (default: all)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the moments; printed")
    parser.add_argument("--folder", type=Path, help="keep logs and data in this folder (default: a temporary one)")
    options = parser.parse_args(arguments)
    console = Console()
    console.print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="telltale-chaos-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        with running(folder, console.print) as shape:
            outcome, found = _run(shape, options, console)
    return _tell(outcome, found, console)


def _run(shape: Shape, options: argparse.Namespace, console: Console) -> tuple[Outcome, Found]:
    victims = {name: part for name, part in shape.victims.items() if not options.only or name in options.only}
    if not victims:
        raise SystemExit(f"--only takes {', '.join(shape.victims)}")
    ledger = Ledger()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        task = progress.add_task("kills", total=options.each * len(victims))

        def report(name: str, outage: float) -> None:
            progress.advance(task)
            progress.console.print(f"  killed {name}, away for {outage:.1f} s")

        rounds = campaign.Rounds(shape.url, options.each, options.seed, report)
        outcome = campaign.run(rounds, victims, ledger)
    console.print(f"{len(ledger.jobs)} batches, {outcome.answered} scores; collecting garbage")
    collect(shape)
    with shape.places() as places:
        return outcome, examine(places, shape.batch_ids(), ledger)


def _tell(outcome: Outcome, found: Found, console: Console) -> int:
    for note in (*outcome.notes, *outcome.failed_scores[:20], *found.notes):
        console.print(f"  {note}", markup=False)
    faults = (found.lost, found.half_registered, found.orphans, len(outcome.failed_scores))
    print(
        f"{sum(outcome.kills.values())} kills, {found.lost} lost, {found.half_registered} half-registered, "
        f"{found.orphans} orphans, {len(outcome.failed_scores)} failed scores"
    )
    return 0 if not any(faults) and not outcome.notes and not found.notes else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
