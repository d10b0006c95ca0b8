"""The programs that run while an image is built, on environments made by hand."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A package `thing` with code and tests, as it was installed."""
    files = ("thing/__init__.py", "thing/tests/test_a.py", "thing/tests/test_b.py", "thing/data/s3/x.json")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    record = tmp_path / "thing-1.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("".join(f"{name},,\n" for name in files))
    return tmp_path


@pytest.fixture
def trim(packages: Path) -> Run:
    """Run trim.py as that environment's Python would."""
    program = (
        "import runpy, sys, sysconfig; sysconfig.get_path = lambda name: sys.argv.pop(2);"
        "sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
    )

    def run(patterns: str) -> subprocess.CompletedProcess[str]:
        unwanted = packages / "unwanted.txt"
        unwanted.write_text(patterns)
        command = [sys.executable, "-c", program, ROOT / "images" / "trim.py", unwanted, packages]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def recorded(packages: Path) -> list[str]:
    with (packages / "thing-1.dist-info" / "RECORD").open(newline="") as file:
        return [row[0] for row in csv.reader(file)]


def test_what_is_listed_goes_from_the_disk_and_from_the_record(trim: Run, packages: Path) -> None:
    assert trim("# tests\nthing/tests\n").stdout == "2 files removed\n"
    assert not (packages / "thing" / "tests").exists()
    assert recorded(packages) == ["thing/__init__.py", "thing/data/s3/x.json"]


def test_what_an_exclamation_mark_keeps_stays(trim: Run, packages: Path) -> None:
    (packages / "thing" / "data" / "ec2").mkdir()
    (packages / "thing" / "data" / "ec2" / "y.json").write_text("y")
    assert trim("thing/data/*/\n!thing/data/s3/\n").stdout == "1 files removed\n"
    assert "thing/data/s3/x.json" in recorded(packages)


def test_a_pattern_that_matches_nothing_ends_the_build(trim: Run, packages: Path) -> None:
    done = trim("thing/tests\nthing/gone\n")
    assert done.returncode == 1
    assert "no file matches thing/gone" in done.stderr
    assert (packages / "thing" / "tests").exists()


def test_the_bill_of_materials_gains_python_and_debians_packages(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "metadata": {},
        "components": [{"name": "telltale", "version": "1.2", "bom-ref": "telltale==1.2"}],
    }
    (tmp_path / "debian.tsv").write_text("libc6\t2.36-9+deb12u1\tamd64\tdebian-12\n")
    command = [sys.executable, ROOT / "images" / "sbom.py", "telltale-predictor", tmp_path / "debian.tsv"]
    done = subprocess.run(command, input=json.dumps(document), capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    assert made["metadata"]["component"]["version"] == "1.2"
    purls = {component["name"]: component.get("purl") for component in made["components"]}
    assert purls["libc6"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=amd64&distro=debian-12"
    assert set(purls) == {"telltale", "python", "libc6"}
    assert len(made["dependencies"][0]["dependsOn"]) == 3


def test_the_images_are_built_by_the_makefiles_uv() -> None:
    (makefile,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for name in ("tools.in", "tools.txt"):
        assert re.findall(r"^uv==(\S+)", (ROOT / "images" / name).read_text(), re.MULTILINE) == [makefile]
