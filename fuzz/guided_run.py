"""One search, in a process of its own, since a crash of native code ends the process that finds it.

    python -m fuzz.guided_run INPUTS NAME COUNTS SECONDS SEED ARTIFACTS CORPUS

INPUTS is a module with the functions, :mod:`fuzz.guided_seeds`; COUNTS is a file of two 64-bit numbers, which become
how many inputs were refused and how many were taken. atheris watches which lines and comparisons of the code under test
an input reaches, and libFuzzer changes the inputs so that they reach more; where atheris is not to be had,
:mod:`fuzz.blind` changes them at random.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fuzz import blind

_WATCHED = ["contract", "predictor", "scoring", "fuzz.guided_inputs"]
_OPTIONS = ("-print_final_stats=1", "-timeout=10", "-rss_limit_mb=3072", "-max_len=8192", "-len_control=20")
DONE = "Done: the time is over"


def is_guided() -> bool:
    """Tell whether atheris is there."""
    return find_spec("atheris") is not None


def main(arguments: list[str]) -> None:
    """Search until the time is over."""
    module, name, counts_file, seconds, seed, artifacts, corpus = arguments
    counts = np.memmap(Path(counts_file), np.int64, "r+", shape=(2,))

    def counting(function: Callable[[bytes], bool]) -> Callable[[bytes], None]:
        def one_input(data: bytes) -> None:
            counts[int(function(data))] += 1

        return one_input

    if not is_guided():
        function = import_module(module).INPUTS[name]
        trying = Path(artifacts, "trying")
        blind.search(counting(function), Path(corpus), trying=trying, seconds=float(seconds), seed=int(seed))
        trying.unlink()
        print(DONE, file=sys.stderr)
        return
    import atheris  # noqa: PLC0415 - it is built for few machines, and only this process needs it

    with atheris.instrument_imports(include=[*_WATCHED, module]):
        function = import_module(module).INPUTS[name]
    options = [f"-max_total_time={max(1, int(float(seconds)))}", f"-seed={int(seed) % 2**31 or 1}", *_OPTIONS]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={artifacts}/", corpus], counting(function))
    atheris.Fuzz()


if __name__ == "__main__":
    # A search makes a million lines of each warning.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore", RuntimeWarning)
    main(sys.argv[1:])
