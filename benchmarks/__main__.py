"""`make bench`: run the benchmarks; write `benchmarks/results.json`, `docs/benchmarks.md` and `docs/benchmarks.png`.

A goal that is missed, or a peer that cannot be started, is reported and is no error. `--only NAME ...` runs some parts
and keeps the other parts' figures; `--quick` is to see that a part works: it writes nothing; `--page` measures nothing
and shows the reasons that were added to `benchmarks/figures.py` since.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import results
from benchmarks.cores import choose_cores
from benchmarks.figures import FITTING, GOALS, REGISTRY, TRAINING, missed, verdict
from benchmarks.load import LoadError, build
from benchmarks.measuring import Plan
from benchmarks.page import number, page
from benchmarks.parts import NOT_MEASURED, PARTS, Part
from benchmarks.plot import draw
from benchmarks.subject import make_subject

_HERE = Path(__file__).resolve().parent
_RESULTS, _NOTES = _HERE / "results.json", _HERE / "notes.json"
_PAGE, _PICTURE = _HERE.parent / "docs" / "benchmarks.md", _HERE.parent / "docs" / "benchmarks.png"
_ROUNDS, _SECONDS = 9, 3.0
_QUICK_ROUNDS, _QUICK_SECONDS = 2, 1.0


def main(arguments: Sequence[str]) -> int:
    """Run and report; returns the exit code, which is 0 unless the benchmarks themselves cannot run."""
    options = _options(arguments)
    console = Console(stderr=True, highlight=False)
    if options.page:
        _write({}, {}, set())
        _report(console)
        return 0
    try:
        build()
    except LoadError as refusal:
        console.print(f"the load generator cannot be built: {refusal}", style="red", markup=False)
        return 1
    _run([part for part in PARTS if not options.only or part.name in options.only], console, quick=options.quick)
    if not options.quick:
        _report(console)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    names = "\n".join(f"  {part.name:10} {part.meaning}" for part in PARTS)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"parts:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=[part.name for part in PARTS], help="run these parts"
    )
    parser.add_argument("--quick", action="store_true", help="two short rounds; print the figures and write nothing")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the page from the results anew")
    return parser.parse_args(arguments)


def _run(parts: Sequence[Part], console: Console, *, quick: bool) -> None:
    """Measure part after part; what each one gave is written at once, so that a later one cannot lose it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="telltale-bench-") as folder:
        (Path(folder) / "subject").mkdir()
        subject = make_subject(Path(folder) / "subject")
        for position, part in enumerate(parts, 1):
            minutes = (time.monotonic() - started) / 60
            console.rule(f"{position} of {len(parts)}: {part.name}: {part.meaning} ({minutes:.1f} min so far)")
            plan = Plan(
                subject=subject,
                cores=choose_cores(),
                folder=Path(folder) / part.name,
                rounds=_QUICK_ROUNDS if quick else _ROUNDS,
                seconds=_QUICK_SECONDS if quick else _SECONDS,
                say=lambda line: console.print(f"  {line}", markup=False, soft_wrap=True),
            )
            plan.folder.mkdir()
            figures, notes = _measured(part, plan)
            if quick:
                print("".join(f"{name} {number(value)}\n" for name, value in sorted(figures.items())), end="")
            else:
                _write(figures, notes, {part.name})


def _measured(part: Part, plan: Plan) -> tuple[dict[str, float], dict[str, str]]:
    """Return a part's figures, or else the reason why it could not be measured."""
    try:
        return part.run(plan), {}
    except NOT_MEASURED as refusal:
        note = results.note_of(refusal, root=_HERE.parent)
        plan.say(f"not measured: {note}")
        return {}, {part.name: note}


def _write(figures: dict[str, float], notes: dict[str, str], ran: set[str]) -> None:
    everything = results.merged(results.read(_RESULTS), figures)
    all_notes = results.merged_notes(results.read_notes(_NOTES), notes, ran)
    results.write(_RESULTS, everything)
    results.write(_NOTES, all_notes)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    _PAGE.write_text(page(everything, all_notes, machine))
    draw(everything, _PICTURE)


def _report(console: Console) -> None:
    everything = results.read(_RESULTS)
    for figure in (*GOALS, *FITTING, *TRAINING, *REGISTRY):
        if figure.name in everything and figure.goal is not None:
            said = verdict(figure, everything).replace("*", "")
            console.print(
                f"{figure.name:32} {number(everything[figure.name]):>10}  {figure.goal}  {said}", markup=False
            )
    console.print(f"{len(missed(everything))} goals missed; see {_PAGE}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
