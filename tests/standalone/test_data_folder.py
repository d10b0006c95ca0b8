from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from standalone.data_folder import DataFolder, Instance, read_instance
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


def opened_by(user: int, path: Path) -> str:
    """What becomes of the folder when user ``user`` opens it; empty if all is well."""
    script = """
import os, sys
from pathlib import Path
from standalone.data_folder import DataFolder
from standalone.errors import DataFolderClosed
os.setuid(int(sys.argv[1]))
try:
    DataFolder(Path(sys.argv[2]))
except DataFolderClosed as error:
    print(error)
"""
    command = [sys.executable, "-c", script, str(user), str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs folders of other users: run the tests as root")
def test_a_folder_of_somebody_elses_is_told_with_what_to_do(data_folder: Path) -> None:
    mounted = data_folder / "mounted"
    mounted.mkdir(mode=0o755)
    os.chown(mounted, 4711, 4711)
    said = opened_by(65532, mounted)
    assert said.startswith("user 65532 cannot write the data folder")
    assert "`chown -R 65532 FOLDER`" in said
    assert "`--user 4711:0`" in said
    assert opened_by(4711, mounted) == ""
    assert "cannot write the data folder" in opened_by(65532, mounted), "whose folders are there already"
    mounted.chmod(0o700)
    assert f"{mounted} is user 4711's" in opened_by(65532, mounted), "who may not even look into it"
    mounted.chmod(0o755)
    os.chown(mounted, 65532, 65532)
    assert f"({mounted}/logs: Permission denied)" in opened_by(65532, mounted), "what others left in it is not ours"


def test_a_note_that_we_may_not_read_is_no_instance(tmp_path: Path) -> None:
    assert read_instance(tmp_path / "nowhere") is None
