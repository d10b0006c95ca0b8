"""Searches in processes of their own find what is planted, with atheris and without."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from fuzz import blind, guided, guided_run, sanitized
from fuzz.guided_inputs import INPUTS
from fuzz.guided_seeds import seeds
from fuzz.tally import Tally

PLANTED = "tests.fuzz.planted_inputs"


def searched(name: str, folder: Path, *, seconds: float = 5) -> Tally:
    return guided.run(name, folder, seconds=seconds, seed=1, progress=lambda _: None, inputs=PLANTED)


@pytest.mark.parametrize(
    ("name", "kind"), [("error", "ZeroDivisionError: planted among # bytes"), ("crash", "SIGABRT")]
)
def test_a_planted_fault_is_found_and_made_small(tmp_path: Path, name: str, kind: str) -> None:
    (finding,) = (tally := searched(name, tmp_path)).findings.values()
    assert finding.kind == kind
    assert finding.reproducer == b"\xba"
    assert tally.crashes == 1


def test_what_has_no_fault_is_searched_to_the_end(tmp_path: Path) -> None:
    tally = searched("sound", tmp_path, seconds=1)
    assert tally.findings == {}
    assert tally.executions == tally.answers["taken"] + tally.answers["refused"] > 1000


def test_without_atheris_a_fault_is_found_all_the_same(tmp_path: Path) -> None:
    """What was tried last is known although the process did not live to tell."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "seed").write_bytes(b"\xbb...")

    def one_input(data: bytes) -> None:
        if data[:1] == b"\xba":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        blind.search(one_input, corpus, trying=tmp_path / "trying", seconds=10, seed=1)
    assert (tmp_path / "trying").read_bytes()[:1] == b"\xba"


def test_the_table_says_that_atheris_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guided, "is_guided", lambda: False)
    monkeypatch.setattr(guided, "_search", lambda *_arguments, **_options: ("Done 0 runs", False))
    assert "atheris is not installed" in searched("sound", tmp_path).note


def test_without_atheris_the_same_seed_makes_the_same_inputs() -> None:
    def first(seed: int) -> list[bytes]:
        return [data for data, _ in zip(blind.inputs([b"one", b"two"], seed), range(200), strict=False)]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_a_whole_search_without_atheris_ends_as_one_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guided_run, "is_guided", lambda: False)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "seed").write_bytes(b"x")
    (tmp_path / "counts").write_bytes(bytes(16))
    guided_run.main([PLANTED, "sound", str(tmp_path / "counts"), "0.2", "1", str(tmp_path), str(tmp_path / "corpus")])
    assert guided_run.DONE in capsys.readouterr().err
    assert any((tmp_path / "counts").read_bytes())
    assert not (tmp_path / "trying").exists()


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_inputs_to_begin_with_are_taken(name: str) -> None:
    """A search that begins with what is refused sees little more than refusals."""
    assert [INPUTS[name](data) for data in seeds(name)] == [True] * len(seeds(name))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number, data in enumerate(seeds("v1-request")):
        (folder / str(number)).write_bytes(data)
    return folder


def built(folder: Path, sources: Path) -> sanitized.SanitizedKernel:
    try:
        return sanitized.build(folder, sources=sources)
    except sanitized.NotBuilt as lack:
        pytest.skip(f"{lack}: install gcc with libasan")


SOURCES = Path(sanitized.__file__).parents[1] / "scoring"


def test_the_kernel_passes_the_sanitizers(tmp_path: Path, corpus: Path) -> None:
    assert list(built(tmp_path, SOURCES).replay("v1-request", corpus)) == []


def test_a_write_beyond_an_array_is_a_finding(tmp_path: Path, corpus: Path) -> None:
    """Planted where every use of the kernel passes."""
    sources = tmp_path / "sources"
    shutil.copytree(SOURCES, sources)
    module = sources / "_kernel.c"
    planted = "\\g<0>    { volatile size_t n = 5; memset(malloc(4), 1, n); }\n"
    changed, times = re.subn(r"PyInit__kernel\(void\)\s*\{\n", planted, module.read_text())
    assert times == 1
    module.write_text(f"#include <stdlib.h>\n#include <string.h>\n{changed}")
    kind, detail, _ = next(built(tmp_path, sources).replay("v1-request", corpus))
    assert kind == "sanitized: heap-buffer-overflow"
    assert "PyInit__kernel" in detail


def test_a_compiler_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(sanitized.NotBuilt, match="there is no C compiler"):
        sanitized.build(tmp_path, compiler="no-such-compiler")
