"""The search where atheris is not to be had: seeds changed at random, without knowing what an input reached.

It finds far less than a guided search does, and is there so that every parser is tried on every platform. It speaks as
libFuzzer does where :mod:`fuzz.guided` listens: what fails is written beside the others, and the end is told.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_TIMES = 4
_LONGEST = 8192
_KEPT_EVERY = 1000
_TOKENS = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"-1", b"1e999", b"NaN", b"[", b"}", b'"', b"\n")


def search(
    function: Callable[[bytes], object],
    corpus: Path,
    *,
    trying: Path,
    seconds: float,
    seed: int,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Try changed inputs of ``corpus`` for some seconds; what ``function`` raises ends it.

    Args:
        function: what is tried.
        corpus: a folder of inputs; some that were tried are added.
        trying: a file that holds the input that is tried at the moment, in case the process does not live to tell.
        seconds: how long.
        seed: of the changes; the same one makes the same inputs.
        clock: seconds that never go back.

    """
    until = clock() + seconds
    with trying.open("wb", buffering=0) as note:
        for number, data in enumerate(inputs([path.read_bytes() for path in sorted(corpus.iterdir())], seed)):
            if clock() > until:
                return
            note.seek(0)
            note.truncate()
            note.write(data)
            function(data)
            if not number % _KEPT_EVERY:
                (corpus / f"tried-{number}").write_bytes(data)


def inputs(seeds: list[bytes], seed: int) -> Iterator[bytes]:
    """Yield the seeds, then changed ones without end."""
    yield from seeds
    rng = random.Random(seed)  # noqa: S311 - chance, no secret
    while True:
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, _TIMES)):
            _change(data, rng)
        yield bytes(data[:_LONGEST])


def _change(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((1, 1, 2, 4, 8, 64)))
    kind = rng.randrange(5)
    if kind == 0 and start < len(data):
        data[start] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[start:end]
    elif kind == 2:
        data[start:start] = data[start:end]
    elif kind == 3:
        data[start:end] = rng.randbytes(end - start)
    else:
        data[start:end] = rng.choice(_TOKENS)
