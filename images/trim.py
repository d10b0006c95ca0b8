"""Takes files that an image never opens out of its environment, and out of the record of the package they came with.

``python trim.py LIST``, by the environment's own Python. LIST holds patterns below site-packages, ``!`` before those to
keep. It refuses a pattern that matches nothing: the list would say of the image what is not so.
"""

from __future__ import annotations

import csv
import sys
import sysconfig
from pathlib import Path


def trim(packages: Path, patterns: list[str]) -> int:
    """Remove what ``patterns`` match below ``packages`` and they do not keep; returns how many files that was."""
    unwanted: set[Path] = set()
    kept: set[Path] = set()
    for pattern in patterns:
        matched = {file for path in packages.glob(pattern.removeprefix("!")) for file in _files(path)}
        if not matched:
            raise SystemExit(f"no file matches {pattern}: take it off the list")
        (kept if pattern.startswith("!") else unwanted).update(matched)
    removed = unwanted - kept
    for file in removed:
        file.unlink()
    _remove_empty_folders(packages)
    for record in packages.glob("*.dist-info/RECORD"):
        _forget(record, removed)
    return len(removed)


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if not file.is_dir()] if path.is_dir() else [path]


def _remove_empty_folders(root: Path) -> None:
    for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def _forget(record: Path, removed: set[Path]) -> None:
    with record.open(newline="") as file:
        rows = list(csv.reader(file))
    left = [row for row in rows if record.parent.parent / row[0] not in removed]
    if len(left) < len(rows):
        with record.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(left)


def main(arguments: list[str]) -> None:
    """Trim the environment that this Python is of."""
    lines = [line.strip() for line in Path(arguments[0]).read_text().splitlines()]
    number = trim(Path(sysconfig.get_path("platlib")), [line for line in lines if line and not line.startswith("#")])
    sys.stdout.write(f"{number} files removed\n")


if __name__ == "__main__":
    main(sys.argv[1:])
