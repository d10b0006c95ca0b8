"""``python -m predictor``: serves HTTP until SIGTERM or SIGINT, then finishes what runs and exits 0.

It takes its settings from the environment (see :mod:`predictor.settings`). ``--fd N`` makes it serve on a listening
socket that it inherits.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
from types import FrameType


def main() -> int:
    """Run the predictor; returns its exit status."""
    # First of all, so that Ctrl-C during the import below ends without a traceback.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    parser = argparse.ArgumentParser(prog="python -m predictor", description="Serves Telltale's models over HTTP.")
    parser.add_argument("--fd", type=int, help="number of an inherited socket to serve on, instead of TELLTALE_PORT")
    options = parser.parse_args()
    from predictor.run import run  # noqa: PLC0415 - it imports for a while, and the signals are in hand only now

    return run(fd=options.fd)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    # Not sys.exit, which waits for all threads: one that hangs with a store must not keep the process.
    os._exit(status)
