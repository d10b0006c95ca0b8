"""The C kernel built with sanitizers, and the inputs of a search tried once with it.

It is a build of its own in a process of its own: AddressSanitizer must be there before Python is, and it takes the
place of what atheris needs to see coverage, so that both at once see nothing.

    python -m fuzz.sanitized EXTENSION NAME FILES...
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SOURCES = Path(__file__).resolve().parents[1] / "scoring"
_NAME = "scoring._kernel"
_FLAGS = (
    "-shared", "-fPIC", "-std=c11", "-O1", "-g", "-ffp-contract=off", "-fvisibility=hidden", "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
)  # fmt: skip
_SECONDS = 300.0
# Searches in which nothing is scored.
_WITHOUT_KERNEL = ("token",)
_WORDS = 4000


class NotBuilt(Exception):
    """There is no kernel with sanitizers; says why."""


@dataclass(frozen=True)
class SanitizedKernel:
    """The extension module, and the run-time library that must be loaded before it."""

    extension: Path
    library: str

    def replay(self, name: str, corpus: Path) -> Iterator[tuple[str, str, bytes]]:
        """Yield what the sanitizers find in the inputs in ``corpus``: kind, detail, input."""
        files = [] if name in _WITHOUT_KERNEL else sorted(map(str, corpus.iterdir()))
        while files:
            done, said = _tried(self.extension, self.library, name, files)
            if done >= len(files):
                return
            yield _kind(said), said[max(0, said.find("ERROR: ")) :][:_WORDS], Path(files[done]).read_bytes()
            files = files[done + 1 :]


def build(folder: Path, *, compiler: str = "cc", sources: Path = _SOURCES) -> SanitizedKernel:
    """Build the kernel in ``folder`` from the C files in ``sources``.

    Raises:
        NotBuilt: there is no such compiler, it has no sanitizers, or it refuses the sources.

    """
    found = shutil.which(compiler)
    if found is None:
        raise NotBuilt(f"there is no C compiler {compiler}")
    library = _library(found)
    if library is None:
        raise NotBuilt(f"{compiler} has no AddressSanitizer as a library of its own")
    extension = folder / f"_kernel{sysconfig.get_config_var('EXT_SUFFIX')}"
    failure = _build(found, extension, sources)
    if failure:
        raise NotBuilt(f"{compiler} does not build the kernel with sanitizers: {failure}")
    return SanitizedKernel(extension, library)


def _build(compiler: str, extension: Path, sources: Path) -> str:
    """Build the kernel; returns what the compiler said if it failed."""
    includes = [f"-I{sysconfig.get_paths()['include']}", f"-I{np.get_include()}"]
    command = [compiler, *_FLAGS, *includes, "-o", str(extension), *map(str, sorted(sources.glob("*.c"))), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr[-_WORDS:] if done.returncode else ""


def _tried(extension: Path, library: str, name: str, files: list[str]) -> tuple[int, str]:
    """Try inputs until one fails; returns how many went well, and what was said."""
    command = [sys.executable, "-m", "fuzz.sanitized", str(extension), name, *files]
    environment = os.environ | {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # Python's own allocator hides what is beyond an object's end.
        "PYTHONMALLOC": "malloc",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS)
    return done.stdout.count("\n"), done.stderr


def _library(compiler: str) -> str | None:
    """Return the sanitizer's run-time library; None if this compiler has none."""
    done = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=False)
    path = done.stdout.strip()
    return path if Path(path).is_absolute() else None


def _kind(said: str) -> str:
    """Return the sanitizer's first words, or the error's."""
    for line in said.splitlines():
        if "ERROR: AddressSanitizer:" in line or "runtime error:" in line:
            return (
                "sanitized: " + line.partition("Sanitizer: " if "Sanitizer" in line else "error: ")[2].split(" on ")[0]
            )
    return "sanitized: " + (said.strip().splitlines() or ["no words"])[-1][:80]


def main(arguments: list[str]) -> None:
    """Try inputs one after the other, and print a line after each that went well."""
    extension, name, *files = arguments
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore", RuntimeWarning)
    spec = importlib.util.spec_from_file_location(_NAME, extension)
    if spec is None or spec.loader is None:
        raise ImportError(f"{extension} is no extension module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)
    from fuzz.guided_inputs import INPUTS  # noqa: PLC0415 - only now, so that it finds the sanitized kernel

    for file in files:
        INPUTS[name](Path(file).read_bytes())
        print("ok", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
