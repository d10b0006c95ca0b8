from __future__ import annotations

from pathlib import Path

import pytest

from standalone.env_example import main, rendered

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_file_tells_todays_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--check", str(REPOSITORY / ".env.example")]) == 0
    stale = tmp_path / "stale"
    stale.write_text("#TELLTALE_PORT=1\n")
    assert main(["--check", str(stale)]) == 1
    assert "make env-example" in capsys.readouterr().err


def test_every_setting_has_a_description_and_stands_there_once() -> None:
    lines = rendered().splitlines()
    settings = [line for line in lines if line.startswith("#") and not line.startswith("# ")]
    names = [line.partition("=")[0] for line in settings]
    assert len(names) == len(set(names)) > 30
    for line in settings:
        assert lines[lines.index(line) - 1].startswith("# "), line
