"""The files that a run leaves: figures as one flat object of name to number, and why a part could not be measured.

A run of some parts changes those parts' entries alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path

_NOTE_CHARACTERS = 300


def read(path: Path) -> dict[str, float]:
    """Return the figures in a file, none if there is no such file."""
    return json.loads(path.read_text()) if path.exists() else {}


def merged(old: Mapping[str, float], new: Mapping[str, float]) -> dict[str, float]:
    """Return all figures, the new ones in place of the old, sorted by name.

    Raises:
        ValueError: a figure is not a finite number, which JSON does not have.

    """
    bad = [name for name, value in new.items() if not math.isfinite(value)]
    if bad:
        raise ValueError(f"{', '.join(sorted(bad))}: not a finite number")
    return dict(sorted({**old, **new}.items()))


def read_notes(path: Path) -> dict[str, str]:
    """Return part to reason, none if there is no such file."""
    return json.loads(path.read_text()) if path.exists() else {}


def merged_notes(old: Mapping[str, str], new: Mapping[str, str], ran: Collection[str]) -> dict[str, str]:
    """Return all notes: those of parts that ran now are replaced, or gone if the part was measured."""
    return {part: note for part, note in old.items() if part not in ran} | dict(new)


def note_of(refusal: Exception, *, root: Path) -> str:
    """Return why a part was not measured, on one line, its end if it is long, without what belongs to one machine.

    Args:
        refusal: what ended the part.
        root: folder of the checkout; paths below it are shown as such.

    """
    text = " ".join(str(refusal).replace(f"{root}/", "").replace(str(Path.home()), "~").split())
    text = re.sub(r"https?://[^\s)`'\"]+", "(address)", text)
    return text if len(text) <= _NOTE_CHARACTERS else f"... {text[-_NOTE_CHARACTERS:]}"


def write(path: Path, entries: Mapping[str, float] | Mapping[str, str]) -> None:
    """Write a file for people and programs."""
    path.write_text(f"{json.dumps(entries, indent=1)}\n")
