"""Prints what an image's environment consists of, by package: ``docker run --rm -i IMAGE python - < images/sizes.py``.

A package owns the files of its RECORD and their bytecode. Sizes are in millions of bytes, as Docker counts images.
Files that no package owns (the environment's own, the bill of materials) are summed up. It does not look at the base.
"""

from __future__ import annotations

import sys
from collections import Counter
from importlib.metadata import Distribution, distributions
from pathlib import Path

_LEAST = 2_000_000
_MILLION = 1_000_000


def sizes(root: Path) -> Counter[str]:
    """Return the bytes of each package's files below ``root``."""
    owners = {path: found.metadata["Name"] for found in distributions() for path in _files(found)}
    total: Counter[str] = Counter()
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            total[owners.get(_source(path), "(no package)")] += path.stat().st_size
    return total


def _files(distribution: Distribution) -> list[Path]:
    return [Path(str(distribution.locate_file(file))).resolve() for file in distribution.files or []]


def _source(path: Path) -> Path:
    """Return the file of which ``path`` is the bytecode, or itself."""
    if path.suffix == ".pyc" and path.parent.name == "__pycache__":
        return path.parent.parent / f"{path.name.partition('.')[0]}.py"
    return path


def table(total: Counter[str]) -> str:
    """Return the packages as rows of Markdown, the largest first, small ones summed up."""
    large = [(name, size) for name, size in total.most_common() if size >= _LEAST]
    small = [size for size in total.values() if size < _LEAST]
    rows = [
        *large,
        (f"{len(small)} others, each below {_LEAST // _MILLION} MB", sum(small)),
        ("together", total.total()),
    ]
    return "| package | MB |\n|---|---:|\n" + "".join(f"| {name} | {size / _MILLION:.1f} |\n" for name, size in rows)


if __name__ == "__main__":
    sys.stdout.write(table(sizes(Path(sys.prefix))))
