"""`python -m benchmarks.registry [actions|failover|crowd ...] [--count N]`: parts of the benchmark, printed only."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.page import number
from benchmarks.registry import actions, crowd, failover
from benchmarks.registry.stage import stage


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=["actions", "failover", "crowd", []], help="which (default: all)")
    parser.add_argument("--count", type=int, default=1000, help="how many ServedModels a crowd has (default 1,000)")
    parser.add_argument("--rounds", type=int, default=10, help="of 20 actions (default 10)")
    parser.add_argument("--times", type=int, default=3, help="how often the leader goes, of each kind (default 3)")
    parser.add_argument("--idle", type=float, default=crowd.IDLE_SECONDS, help="seconds to leave a crowd alone")
    options = parser.parse_args(arguments)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    for part in options.parts or ["actions", "failover", "crowd"]:
        with tempfile.TemporaryDirectory(prefix="telltale-bench-") as folder, stage(Path(folder)) as where:
            if part == "actions":
                figures = actions.run(where, options.rounds, say)
            elif part == "failover":
                figures = failover.run(where, options.times, say)
            else:
                figures = crowd.run(where, options.count, say, options.idle)
        for name, value in figures.items():
            print(f"{name} {number(value)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
