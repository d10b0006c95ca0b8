"""Proves in the build of the trainer's image that what was left out of it is not missed.

Run by the environment's Python with the list of packages that were left out. Nothing but KServe's SDK may ask for one
of them, and every module of ours must load. It starts nothing: tests/images does.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement

from predictor.v2.kserve_sdk import prepare
from scoring.kernel import kernel_name

_OURS = ("contract", "scoring", "store", "predictor", "registry", "standalone", "trainer")
# Alembic runs it, with the connection that it needs.
_NOT_TO_IMPORT = ("store.migrations",)


def check(left_out: set[str]) -> None:
    """Raise SystemExit if the environment is not what it should be."""
    there = {_name(found.metadata["Name"]): found.requires or [] for found in distributions()}
    _expect(not left_out & set(there), f"{sorted(left_out & set(there))} should not be here")
    for name, requirements in there.items():
        missing = {_name(needed.name) for needed in map(Requirement, requirements) if _applies(needed)} - set(there)
        _expect(not missing or (name == "kserve" and missing <= left_out), f"{name} needs {sorted(missing)}")
    prepare()
    for module in _modules():
        importlib.import_module(module)
    _expect(kernel_name() != "numpy", "the scoring kernel was not compiled")


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _modules() -> Iterator[str]:
    for package in _OURS:
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not found.name.endswith("__main__") and not found.name.startswith(_NOT_TO_IMPORT):
                yield found.name


def _name(written: str) -> str:
    return re.sub(r"[-_.]+", "-", written).lower()


def _expect(holds: bool, complaint: str) -> None:
    if not holds:
        raise SystemExit(f"check_trainer.py: {complaint}")


def main(arguments: list[str]) -> None:
    """Check the environment that this Python is of."""
    lines = (line.strip() for line in Path(arguments[0]).read_text().splitlines())
    check({_name(line) for line in lines if line and not line.startswith("#")})


if __name__ == "__main__":
    main(sys.argv[1:])
