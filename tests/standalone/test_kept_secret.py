from __future__ import annotations

import stat
from pathlib import Path

from standalone.kept_secret import make_secret, read_secret


def test_a_secret_is_long_random_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    made = make_secret(path, 48)
    assert len(made) == 64
    assert read_secret(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]
    assert make_secret(tmp_path / "other", 48) != made


def test_no_file_and_the_empty_one_of_a_cut_start_are_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert read_secret(path) is None
    path.touch()
    assert read_secret(path) is None


def test_what_a_cut_start_left_beside_it_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "secret.new").write_text("half")
    made = make_secret(tmp_path / "secret", 32)
    assert read_secret(tmp_path / "secret") == made
