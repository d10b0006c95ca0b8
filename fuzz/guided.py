"""Searches guided by coverage in processes of their own, what they find made small, and their inputs tried once more.

Every input that reached something new is tried again with the kernel built under AddressSanitizer and
UndefinedBehaviorSanitizer: a read beyond an array's end need not crash.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from fuzz.guided_run import DONE, is_guided
from fuzz.rounds import Progress
from fuzz.sanitized import SanitizedKernel
from fuzz.shrink import fails_in_child, smaller
from fuzz.tally import Tally

# What each search gets of the time.
SHARES = {"forest-file": 0.4, "v2-request": 0.25, "score-request": 0.2, "v1-request": 0.08, "token": 0.07}
INPUTS = "fuzz.guided_seeds"
UNGUIDED = "without coverage to guide it: atheris is not installed, it is built for Linux on x86-64 alone"
_GRACE_SECONDS = 60.0
_LOOK_SECONDS = 0.25
_SHRINK_SECONDS = 20.0
_UNIT_SECONDS_OVER = "ALARM: working on the last Unit"


def run(
    name: str,
    folder: Path,
    *,
    seconds: float,
    seed: int,
    progress: Progress,
    kernel: SanitizedKernel | None = None,
    inputs: str = INPUTS,
) -> Tally:
    """Search for some seconds and return what came of it.

    Args:
        name: which of the functions of ``inputs`` is searched.
        folder: an empty one, needed meanwhile.
        seconds: how long.
        seed: of the search.
        progress: is told now and then.
        kernel: what the inputs are tried with once more; None for nothing.
        inputs: the module that has the functions, and what gives inputs to begin with.

    """
    tally = Tally(name, note="" if is_guided() else UNGUIDED)
    corpus, artifacts, counts = folder / "corpus", folder / "artifacts", folder / "counts"
    corpus.mkdir()
    for number, first in enumerate(import_module(inputs).seeds(name)):
        (corpus / f"seed-{number}").write_bytes(first)
    artifacts.mkdir()
    counts.write_bytes(bytes(16))
    command: list[str | Path] = [inputs, name, counts, str(seconds), str(seed), artifacts, corpus]
    tell = _teller(tally, counts, progress)
    said, hung = _search(command, folder / "output", seconds=seconds, seed=seed, tell=tell)
    _count(tally, counts)
    for path in sorted(artifacts.iterdir()):
        _find(tally, import_module(inputs).INPUTS[name], path.read_bytes(), said, hung=hung)
    if not tally.findings and DONE not in said and "Done " not in said:
        tally.find("the search itself ended", said[-2000:], b"")
    if kernel is not None:
        for finding in kernel.replay(name, corpus):
            tally.find(*finding)
    return tally


def _search(
    arguments: list[str | Path], output: Path, *, seconds: float, seed: int, tell: Callable[[float], None]
) -> tuple[str, bool]:
    """Run one search to its end; returns what it said, and whether it had to be ended."""
    started = time.monotonic()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.guided_run", *arguments],
            env=os.environ | {"PYTHONHASHSEED": str(seed % 2**32)},
            stdout=file,
            stderr=file,
        )
    try:
        while process.poll() is None and time.monotonic() - started < seconds + _GRACE_SECONDS:
            time.sleep(_LOOK_SECONDS)
            tell(time.monotonic() - started)
    finally:
        hung = process.poll() is None
        process.kill()
        process.wait()
    return output.read_text(errors="replace"), hung


def _teller(tally: Tally, counts: Path, progress: Progress) -> Callable[[float], None]:
    def tell(seconds: float) -> None:
        tally.seconds = seconds
        _count(tally, counts)
        progress(tally)

    return tell


def _count(tally: Tally, counts: Path) -> None:
    data = counts.read_bytes()
    tally.answers["refused"], tally.answers["taken"] = (int.from_bytes(data[i : i + 8], "little") for i in (0, 8))
    tally.executions = tally.answers.total()


def _find(tally: Tally, function: Callable[[bytes], object], data: bytes, said: str, *, hung: bool) -> None:
    """Note what an input did, made as small as it can be."""
    if hung or _UNIT_SECONDS_OVER in said:
        tally.hangs += 1
    else:
        tally.crashes += 1
    how = fails_in_child(function, data)
    if not how:
        tally.find("a crash that does not show again", said[-3000:], data)
        return
    kind = _kind(how)
    shrunk = smaller(data, lambda tried: _kind(fails_in_child(function, tried)) == kind, seconds=_SHRINK_SECONDS)
    tally.find(kind, f"{fails_in_child(function, shrunk)}\n\n{_traceback(said)}", shrunk)


def _kind(how: str) -> str:
    """Return an error's name and the beginning of what it says, without numbers: the same for the same fault."""
    return re.sub(r"\d+", "#", how[:60])


def _traceback(said: str) -> str:
    _, mark, rest = said.partition("=== Uncaught Python exception: ===")
    return (mark + rest)[:4000] if mark else said[-4000:]
