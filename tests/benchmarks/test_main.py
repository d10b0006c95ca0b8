"""What a run leaves behind, with parts that take no time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.measuring import Plan
from benchmarks.parts import PARTS, Part
from benchmarks.peers import NotInstalled


def rss(plan: Plan) -> dict[str, float]:
    assert plan.subject.joblib_file.exists()
    return {"rss_mb": 200.0}


def mlserver(_plan: Plan) -> dict[str, float]:
    raise NotInstalled("there is no such package")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a run of two parts write into a temporary folder, which holds the figures of an earlier run."""
    monkeypatch.setattr(command, "PARTS", (Part("memory", "memory", rss), Part("mlserver", "a peer", mlserver)))
    monkeypatch.setattr(command, "_RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(command, "_NOTES", tmp_path / "notes.json")
    monkeypatch.setattr(command, "_PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(command, "_PICTURE", tmp_path / "benchmarks.png")
    (tmp_path / "results.json").write_text('{"score_share_of_bare_c1": 0.97, "rss_mb": 100.0}')
    (tmp_path / "notes.json").write_text('{"memory": "it did not start"}')
    return tmp_path


def read(path: Path) -> object:
    return json.loads(path.read_text())


def test_missed_goals_and_peers_that_cannot_run_are_reported_and_are_no_error(folder: Path) -> None:
    assert command.main([]) == 0
    assert read(folder / "results.json") == {"rss_mb": 200.0, "score_share_of_bare_c1": 0.97}
    assert read(folder / "notes.json") == {"mlserver": "there is no such package"}
    page = (folder / "benchmarks.md").read_text()
    assert "| `rss_mb` | 200 | <= 150 | **missed**" in page
    assert "- **mlserver**: there is no such package" in page
    assert (folder / "benchmarks.png").exists()


def test_a_part_that_did_not_run_keeps_its_note_and_its_figures(folder: Path) -> None:
    assert command.main(["--only", "mlserver"]) == 0
    assert read(folder / "results.json") == {"rss_mb": 100.0, "score_share_of_bare_c1": 0.97}
    assert read(folder / "notes.json") == {"memory": "it did not start", "mlserver": "there is no such package"}


def test_a_quick_run_writes_nothing_but_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert command.main(["--quick", "--only", "memory"]) == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert capsys.readouterr().out == "rss_mb 200\n"


def test_the_page_alone_can_be_written_anew(folder: Path) -> None:
    assert command.main(["--page"]) == 0
    assert "| `score_share_of_bare_c1` | 0.97 | >= 0.95 | met |" in (folder / "benchmarks.md").read_text()


def test_a_part_that_there_is_not_is_refused() -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "nothing"])


def test_parts_have_names_of_their_own() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)
