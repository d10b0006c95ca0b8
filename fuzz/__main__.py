"""`make fuzz`: send a server and the parsers behind it what nobody should, for FUZZ_SECONDS (60; a whole run is 1200).

The exit status is 0 if nothing was found, 1 if something was, 2 if the run itself could not be. An input that breaks
something is made small and kept in .telltale/fuzz/, beside it what it did and how to send it again.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from fuzz import replay
from fuzz.campaign import TARGETS, Plan, run
from fuzz.predictor_process import NotStarted
from fuzz.report import Report, verdict
from fuzz.tally import KEPT, keep

_SECONDS = 60.0


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Fuzz, or replay a finding; returns the exit status."""
    options = _options(arguments, environment)
    report = Report(Console(width=None if sys.stdout.isatty() else 160))
    try:
        if options.replay is not None:
            report.say(replay.replay(options.replay, seed=options.seed))
            return 0
        return _fuzz(options, report)
    except (NotStarted, replay.NoFinding) as refusal:
        report.say(f"error: {refusal}")
        return 2


def _fuzz(options: argparse.Namespace, report: Report) -> int:
    targets = [target for target in TARGETS if not options.only or target.name in options.only]
    report.say(f"seed {options.seed}, {options.seconds:g} s over {len(targets)} targets")
    tallies = run(Plan(targets, options.seconds, options.seed), report)
    findings = [finding for tally in tallies for finding in tally.findings.values()]
    kept = [(finding, keep(finding, options.keep, seed=options.seed)) for finding in findings]
    report.end(tallies, kept)
    report.say(f"{verdict(tallies)}; seed {options.seed}")
    return 1 if findings or any(tally.server_errors + tally.crashes + tally.hangs for tally in tallies) else 0


def _options(arguments: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    seconds = environment.get("FUZZ_SECONDS") or _SECONDS
    names = [target.name for target in TARGETS]
    parser.add_argument("--seed", type=int, help="of all chance; the same one draws the same inputs (default: any)")
    parser.add_argument("--seconds", type=_positive, default=seconds, help="how long (default: FUZZ_SECONDS, or 60)")
    parser.add_argument("--only", nargs="+", choices=names, metavar="TARGET", help=f"these alone: {', '.join(names)}")
    parser.add_argument("--keep", type=Path, default=KEPT, help=f"folder for what breaks something (default: {KEPT})")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="send a kept input again, and say what it gets")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = secrets.randbelow(2**31)
    return options


def _positive(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError("it must be above 0")
    return seconds


if __name__ == "__main__":
    # hypothesis keeps what it learns in the working folder, wherever that is; here nothing is to be learned.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", tempfile.gettempdir())
    sys.exit(main(sys.argv[1:], os.environ))
