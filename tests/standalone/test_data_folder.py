from __future__ import annotations

import stat
from pathlib import Path

import pytest

from standalone.data_folder import DataFolder, Instance
from standalone.errors import DataFolderInUse

INSTANCE = Instance(4711, "http://127.0.0.1:8000", "postgresql://telltale:secret@127.0.0.1:5/telltale")


def test_one_instance_at_a_time_holds_the_folder_and_the_next_is_told_where_it_is(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path / "data"), DataFolder(tmp_path / "data")
    with first.locked():
        first.note_instance(INSTANCE)
        with pytest.raises(DataFolderInUse, match=r"process 4711, http://127\.0\.0\.1:8000"), second.locked():
            pass
    with second.locked():
        assert second.instance() is None


def test_the_note_holds_a_password_and_is_for_us_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.note_instance(INSTANCE)
    assert folder.instance() == INSTANCE
    assert stat.S_IMODE((tmp_path / "instance.json").stat().st_mode) == 0o600


def test_a_note_that_is_no_note_is_no_instance(tmp_path: Path) -> None:
    (tmp_path / "instance.json").write_text('{"pid": 1}')
    assert DataFolder(tmp_path).instance() is None
