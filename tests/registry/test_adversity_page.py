"""The page of what can go wrong names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "registry-adversity.md").read_text(encoding="utf-8")
_NAMED = re.compile(r"`(?:(test_\w+): )?(\w+)…`")
_FILES = re.compile(r"`(tests/[\w/]+\.py|test_\w+)(?=[:`])")


def named() -> list[tuple[str, str]]:
    """Return each file and the beginning of a test's name; a test without a file is in that of the one before it."""
    found: list[tuple[str, str]] = []
    for file, beginning in _NAMED.findall(PAGE):
        found.append((file or found[-1][0], beginning))
    return found


@pytest.mark.parametrize(("file", "beginning"), named())
def test_a_test_that_the_page_names_is_there(file: str, beginning: str) -> None:
    text = (ROOT / "tests" / "registry" / "cluster" / f"{file}.py").read_text(encoding="utf-8")
    assert re.search(rf"^def test_{beginning}", text, re.MULTILINE)


def test_the_files_that_the_page_names_are_there() -> None:
    names = {name if "/" in name else f"tests/registry/cluster/{name}.py" for name in _FILES.findall(PAGE)}
    assert len(names) > 5
    assert [name for name in sorted(names) if not (ROOT / name).is_file()] == []


def test_every_row_says_what_shows_it() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| what happens")]
    assert rows
    for row in rows:
        assert len(row.split(" | ")) == 5, row
        assert "`test" in row.rpartition(" | ")[2] or row.rstrip(" |").endswith("the same"), row
